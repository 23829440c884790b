# make install, make uninstall: the folders have the names of the GNU coding standards, so that
#   make install prefix=/usr sysconfdir=/etc DESTDIR=somewhere
# does what packagers expect. What is installed is listed once, as FILE=PLACE; uninstall goes by the same list.
prefix ?= /usr/local
exec_prefix ?= $(prefix)
bindir ?= $(exec_prefix)/bin
sysconfdir ?= $(prefix)/etc
datarootdir ?= $(prefix)/share
mandir ?= $(datarootdir)/man
docdir ?= $(datarootdir)/doc/tercet
# Not of GNU's: where systemd, bash-completion and libvirt's AppArmor profile look.
unitdir ?= $(prefix)/lib/systemd/system
completiondir ?= $(datarootdir)/bash-completion/completions
apparmordir ?= $(sysconfdir)/apparmor.d/abstractions

INSTALL ?= install
INSTALL_PROGRAM ?= $(INSTALL)
INSTALL_DATA ?= $(INSTALL) -m 644

INSTALLED_UNITS := $(wildcard packaging/systemd/*)
INSTALLED_DATA := \
	$(foreach f,$(wildcard docs/man/*.[1-9]),$(f)=$(mandir)/man$(subst .,,$(suffix $(f)))/$(notdir $(f))) \
	packaging/bash-completion/tercet=$(completiondir)/tercet \
	packaging/apparmor/tercet=$(apparmordir)/tercet \
	$(foreach f,README.md NOTICE $(wildcard docs/*.md docs/examples/*),$(f)=$(docdir)/$(f))
INSTALLED_ALL := $(bindir)/tercet $(bindir)/qemu-system-tercet \
	$(foreach u,$(INSTALLED_UNITS),$(unitdir)/$(notdir $(u))) \
	$(foreach p,$(INSTALLED_DATA),$(lastword $(subst =, ,$(p))))

.PHONY: install uninstall
install: $(BUILD)/tercet
	$(Q)$(INSTALL) -d '$(DESTDIR)$(bindir)' '$(DESTDIR)$(unitdir)'
	$(Q)$(INSTALL_PROGRAM) $(BUILD)/tercet '$(DESTDIR)$(bindir)/tercet'
	$(Q)ln -sf tercet '$(DESTDIR)$(bindir)/qemu-system-tercet'
	$(Q)for unit in $(INSTALLED_UNITS); do \
		sed 's|/usr/bin/|$(bindir)/|' $$unit >'$(DESTDIR)$(unitdir)'/$${unit##*/} && \
		chmod 644 '$(DESTDIR)$(unitdir)'/$${unit##*/} || exit 1; done
	$(Q)for pair in $(INSTALLED_DATA); do \
		$(INSTALL) -d "$(DESTDIR)$$(dirname "$${pair#*=}")" && \
		$(INSTALL_DATA) "$${pair%%=*}" "$(DESTDIR)$${pair#*=}" || exit 1; done

# Folders go where nothing else is in them.
uninstall:
	$(Q)for file in $(INSTALLED_ALL); do rm -f "$(DESTDIR)$$file" || exit 1; done
	$(Q)for file in $(INSTALLED_ALL); do \
		folder=$$(dirname "$$file"); \
		while [ "$$folder" != / ] && [ "$$folder" != '$(prefix)' ] && rmdir "$(DESTDIR)$$folder" 2>/dev/null; do \
			folder=$$(dirname "$$folder"); done; done; true

.PHONY: deb
deb:
	$(Q)packaging/build-deb $(VERSION) $(BUILD)/deb
