"""What others published, to stand beside our figures. Nothing here was measured by us, nor on our machines.

Each figure is as the publication's own abstract gives it.
"""
QUOTED = [
    ("Romain", "three replicas of a process, meeting at system calls", "SPEC INT 2006: 1.8 % (geometric mean)",
     "B. Doebel and H. Haertig, Where have all the cycles gone?, INFORMATIK 2013, abstract"),
    ("Romain", "likewise", "a benchmark suite: at most 30 %, often below 5 %",
     "B. Doebel, H. Haertig and M. Engel, Operating system support for redundant multithreading, EMSOFT 2012, "
     "abstract"),
    ("ELK Herder", "three replicas of a process, each in a virtual machine", "16.3 %; 2.2 % for one that is not "
     "replicated", "F. Pester, ELK Herder, diploma thesis, TU Dresden 2014, abstract of its defence"),
    ("HAFT", "instructions of a process twice, and transactions", "Phoenix and PARSEC: twice the time",
     "D. Kuvaiskii et al., HAFT: hardware-assisted fault tolerance, EuroSys 2016, abstract"),
    ("virtual lockstep", "replicated virtual machines, meeting in the hypervisor", "about 14 % (mean)",
     "C. M. Jeffery and R. J. O. Figueiredo, A flexible approach to improving system reliability with virtual "
     "lockstep, IEEE TDSC 9 (2012), abstract"),
    ("VMware FT", "a virtual machine and a backup on another host, which replays",
     "typically less than 10 %", "D. J. Scales, M. Nelson and G. Venkitachalam, The design and evaluation of a "
     "practical system for fault-tolerant virtual machines, VMware 2010, abstract"),
]


def table():
    """The same as lines of Markdown."""
    lines = ["| system | what it replicates | overhead, **quoted** | from |", "| --- | --- | --- | --- |"]
    lines += [f"| {name} | {what} | {figure} | {source} |" for name, what, figure, source in QUOTED]
    return "\n".join(lines)
