/* Instructions of all forms and sizes, alone and in random sequences: native_step does what a vCPU does. */
#include "tests/unit/native_pair.h"

#include <cpuid.h>
#include <stdio.h>

/* Of each operation with two operands: registers of all sizes, RSP, high bytes, memory both ways, immediates. Memory is
 * addressed by R14, which nothing here changes, R15, FS, GS, RSP, RIP and absolutely. */
GUEST_CODE(binary,
	   ".irp op, add, or, adc, sbb, and, sub, xor, cmp, mov, test\n"
	   "\\op %rcx, %rdx\n\\op %r9, %rax\n\\op %rbp, %r12\n\\op %ecx, %r9d\n\\op %cx, %r10w\n"
	   "\\op %r13w, %bx\n"
	   "\\op %ah, %bl\n\\op %cl, %dh\n\\op %bh, %ch\n\\op %sil, %r8b\n\\op %spl, %dl\n"
	   "\\op %r11b, %bpl\n"
	   "\\op %rsp, %rax\n\\op %esp, %ebx\n\\op %sp, %cx\n\\op %rax, %rax\n\\op %r8d, %r8d\n"
	   "\\op %rcx, 8(%r14)\n\\op %edx, 12(%r14)\n\\op %r9w, -0x300(%r14)\n\\op %ch, 5(%rsi)\n"
	   "\\op %r11b, 1(%r14,%r15)\n\\op %rsp, 0x20(%rsp)\n\\op %rax, 0x402104(,%r15,8)\n"
	   "\\op %rbx, 0x402000\n"
	   "\\op %rbp, %fs:0x18\n\\op %rdi, %gs:8(,%r15,2)\n\\op %esi, %gs:0x10\n\\op %rax, 0x1100(%rip)\n"
	   "\\op %bl, 0x17F0(%rip)\n\\op %ebp, -4(%rsp,%r15)\n\\op %r10, (%rsi)\n\\op %r12d, 4(%rdi)\n"
	   "\\op $5, %rcx\n\\op $-77, %r11d\n\\op $0x1234, %cx\n\\op $0x7F, %ah\n\\op $-1, %spl\n"
	   "\\op $0x80, %al\n"
	   "\\op $0x12345678, %rax\n\\op $-0x12345678, %rbp\n\\op $0x7FFFFFFF, %r13d\n\\op $-3, %esp\n"
	   "\\op\\()q $-9, 16(%r14)\n\\op\\()l $0x12345678, (%r14)\n\\op\\()w $0x4321, 2(%r14,%r15,2)\n"
	   "\\op\\()b $0x55, 3(%rsp)\n\\op\\()l $7, %gs:4\n\\op\\()q $0x7654321, 0x1200(%rip)\n"
	   ".endr\n"
	   ".irp op, add, or, adc, sbb, and, sub, xor, cmp, mov, test, xadd, xchg, cmpxchg\n"
	   "\\op %rcx, 8(%r14)\n\\op %edx, 0x40(%r14)\n\\op %r9w, 0x80(%r14)\n\\op %bh, 9(%rdi)\n"
	   "\\op %rsp, 0x28(%rsp)\n\\op %rcx, %rdx\n\\op %ah, %bl\n\\op %r9d, %r10d\n\\op %si, %ax\n"
	   ".endr\n"
	   ".irp op, add, or, adc, sbb, and, sub, xor, cmp, mov\n"
	   "\\op 8(%r14), %rcx\n\\op (%r14,%r15,8), %esp\n\\op 1(%r14), %r9w\n\\op 7(%rsi), %dh\n"
	   "\\op %fs:5, %sil\n"
	   "\\op 0x1300(%rip), %r10\n\\op -8(%rsp), %rbp\n\\op %gs:(%r15), %r13d\n\\op 0x402003, %rbx\n"
	   ".endr\n"
	   ".irp op, add, or, adc, sbb, and, sub, xor\n"
	   "lock \\op\\()q %rcx, 8(%r14)\nlock \\op\\()b $3, (%r14,%r15)\n"
	   ".endr\n"
	   "lock cmpxchg %rcx, 8(%r14)\nlock xadd %eax, (%r14)\nlock cmpxchg8b 0x10(%r14)\n"
	   "cmpxchg8b (%r14)\n"
	   "movabs 0x402008, %rax\nmovabs %eax, 0x402010\nmovabs $0x1122334455667788, %r9\n"
	   "xchg %rax, %rsp\nxchg %rax, %r9\nxchg %ecx, %eax\nxchg %r8d, %eax\n.byte 0x90\n"
	   ".byte 0x41, 0x90\n"
	   "addr32 mov 4(%r14d), %eax\naddr32 add %rcx, 8(%esi)\naddr32 lea -5(%eax,%ecx,4), %rdx\n"
	   "movnti %rax, 8(%r14)\nmovnti %ecx, 0x20(%r14)");

GUEST_CODE(unary,
	   ".irp op, inc, dec, neg, not\n"
	   "\\op %rax\n\\op %r9d\n\\op %cx\n\\op %bh\n\\op %spl\n\\op %rsp\n\\op %r13b\n\\op\\()q 8(%r14)\n"
	   "\\op\\()l (%r14,%r15,4)\n\\op\\()w %gs:2\n\\op\\()b 0x1100(%rip)\nlock \\op\\()q 8(%r14)\n"
	   ".endr\n"
	   ".irp op, rol, ror, rcl, rcr, shl, shr, sar\n"
	   "\\op %rax\n\\op %cl, %rax\n\\op $7, %rbp\n\\op %cl, %r9d\n\\op $31, %r9d\n\\op %r11d\n"
	   "\\op %cl, %dx\n\\op $9, %r8w\n"
	   "\\op %cl, %ah\n\\op $3, %bh\n\\op %ch\n\\op %cl, %sil\n\\op $63, %rsp\n\\op %cl, %rcx\n"
	   "\\op %cl, %ecx\n"
	   "\\op\\()q %cl, 8(%r14)\n\\op\\()l $5, (%r14,%r15,4)\n\\op\\()w %cl, 0x20(%r14)\n"
	   "\\op\\()b %cl, 1(%r14)\n"
	   "\\op\\()b %fs:3\n\\op\\()q $33, -8(%rsp)\n"
	   ".endr\n"
	   ".irp op, shld, shrd\n"
	   "\\op $5, %rax, %rbx\n\\op %cl, %rcx, %rdx\n\\op %cl, %r9d, %r10d\n\\op $31, %eax, %esp\n"
	   "\\op $3, %ax, %bx\n"
	   "\\op $9, %rax, 8(%r14)\n\\op %cl, %edx, (%r14,%r15,4)\n"
	   ".endr\n"
	   ".irp op, mul, imul\n"
	   "\\op %rcx\n\\op %r9d\n\\op %bx\n\\op %ch\n\\op %sil\n\\op %rsp\n\\op\\()q 8(%r14)\n"
	   "\\op\\()l (%r14,%r15,4)\n"
	   "\\op\\()w 2(%r14)\n\\op\\()b %gs:1\n"
	   ".endr\n"
	   "imul %rcx, %rdx\nimul %r9d, %esp\nimul %bx, %cx\nimul 8(%r14), %rax\nimul $7, %rcx, %rdx\n"
	   "imul $-0x12345, 8(%r14), %ebp\nimul $300, %bx, %r9w\n"
	   ".irp op, bt, bts, btr, btc\n"
	   "\\op %rcx, %rdx\n\\op %r9d, %eax\n\\op %bx, %cx\n\\op $3, %rsp\n\\op $40, %rbx\n"
	   "\\op $9, %cx\n\\op\\()l $17, 8(%r14)\n"
	   "\\op\\()q $63, (%r14,%r15,8)\n\\op\\()w $3, (%r14)\n\\op %r15, 8(%r14)\n\\op %r15d, 8(%r14)\n"
	   "\\op %r15w, %gs:8\n"
	   ".endr\n"
	   ".irp op, bsf, bsr\n"
	   "\\op %rcx, %rdx\n\\op %r9d, %eax\n\\op %bx, %cx\n\\op 8(%r14), %rbp\n\\op %rsp, %rsp\n"
	   ".endr\n"
	   ".irp r, %rax, %r9, %rsp, %edx, %r13d\nbswap \\r\n.endr\n"
	   "cbw\ncwde\ncdqe\ncwd\ncdq\ncqo\nclc\nstc\ncmc\nlahf\nsahf\nnop\npause\nnopl 8(%rax)\n"
	   "nopw (%rcx)\nendbr64\n"
	   "lfence\nmfence\nsfence\nprefetcht0 (%rax)\n"
	   "movzbl %ah, %ecx\nmovzbl %sil, %r9d\nmovzwq %cx, %rdx\nmovzbw 1(%r14), %bp\n"
	   "movzwl %gs:6, %esp\nmovsbl %bh, %eax\n"
	   "movsbq %r9b, %rsp\nmovswq 2(%r14), %rcx\nmovslq %ecx, %rdx\nmovslq 4(%r14), %r10\n"
	   "movsbw %spl, %ax\n"
	   "lea 8(%rax,%rcx,4), %rdx\nlea -1(%rsp), %rsp\nlea 0x123(%rip), %r9\nlea (%rcx,%rdx), %eax\n"
	   "lea 1(%rcx,%rdx), %bx\n"
	   ".byte 0x65\nlea 8(%rax), %rcx\n"
	   ".irp c, o, no, b, nb, z, nz, be, nbe, s, ns, p, np, l, nl, le, nle\n"
	   "set\\c %al\nset\\c %ch\nset\\c %r9b\nset\\c %spl\nset\\c 1(%r14)\ncmov\\c %rcx, %rdx\n"
	   "cmov\\c %r9d, %eax\n"
	   "cmov\\c %bx, %cx\ncmov\\c 8(%r14), %rsp\ncmov\\c (%r14,%r15,4), %r13d\n"
	   ".endr");

/* Near transfers that lead to what is behind them: taken or not shows in RIP only where it makes a difference. */
GUEST_CODE(stack,
	   "push %rax\npush %rsp\npush %r13\npush $5\npush $-0x1234567\npushq 8(%r14)\npushq %gs:8\n"
	   "pushq 8(%rsp)\npush %rbp\n"
	   "pop %rax\npop %rsp\npop %r13\npop %rbp\nmovsq\nmovsl\nmovsw\nmovsb\nstosq\nstosl\nstosw\n"
	   "stosb\nlodsq\nlodsl\n"
	   "lodsw\nlodsb\ncld\nstd");

/* Sections with branches: each is run whole. */
GUEST_CODE(branches,
	   ".irp c, o, no, b, nb, z, nz, be, nbe, s, ns, p, np, l, nl, le, nle\n"
	   "j\\c 1f\nadd $1, %rbx\nrol $1, %rbx\n1: adc %rbx, %rcx\n"
	   "j\\c 2f\nxor %rbx, %r9\n.skip 200, 0x90\n2: sub %rcx, %rdx\n"
	   ".endr");
GUEST_CODE(calls,
	   "mov $9, %ecx\nxor %eax, %eax\ncall 5f\nlea 6f(%rip), %rdx\ncall *%rdx\nlea 7f(%rip), %rdx\n"
	   "mov %rdx, 8(%r14)\n"
	   "jmp *8(%r14)\nud2\n7: lea 8f(%rip), %rdx\nmov %rdx, 0x10(%r14)\npush $77\ncall *0x10(%r14)\n"
	   "mov $5, %ecx\n1: add %rcx, %rax\nloop 1b\nmov $70, %ecx\n2: dec %r8\nloopne 2b\n"
	   "mov $70, %ecx\n3: cmp %eax, %eax\nloope 3b\n"
	   "jrcxz 4f\nud2\n4: mov %rsp, %rbp\npush %rbp\nsub $0x20, %rsp\nmov %rsp, %rbp\nleave\n"
	   "lea 9f(%rip), %rdx\njmp *%rdx\nud2\n"
	   /* recursion */
	   "5: inc %rax\ndec %ecx\njz 1f\ncall 5b\n1: add %rax, %rbx\nret\n6: bswap %rbx\nrepz ret\n"
	   "8: add %rbx, %r11\nret $8\n"
	   "9: mov $3, %ecx\njecxz 9f\nmov $1, %r12\nshl $32, %r12\nmov %r12, %rcx\naddr32 jrcxz 9f\n"
	   "ud2\n9:");
GUEST_CODE(repeats,
	   "lea -0x700(%r14), %rsi\nlea 0x500(%r14), %rdi\nmov $33, %ecx\nrep movsb\nmov $17, %ecx\n"
	   "rep movsq\nmov $5, %ecx\n"
	   "rep stosl\nmov $0x20, %ecx\nrep stosq\nxor %ecx, %ecx\nrep stosb\nmov $3, %ecx\nrep lodsw\n"
	   "std\nmov $9, %ecx\nrep movsl\n"
	   "mov $9, %ecx\nrep stosb\ncld\n"
	   /* overlapping */
	   "lea 1(%rsi), %rdi\nmov $100, %ecx\nrep movsb\n");
GUEST_CODE(flags_moved,
	   "pushfq\npop %rax\nor $0x4C1, %rax\nand $~0x10, %rax\npush %rax\npopfq\nmovsq\npushfq\n"
	   "pop %rbx\nxor $0x240D5, %rbx\n"
	   "and $~0x200, %rbx\npush %rbx\npopfq\npushfq\npop %rcx\nxor $0x200000, %rcx\npush %rcx\n"
	   "popfq\npushfq\nmovsq\ncli\npushfq");

/* Valid divisions only: the high half is made small enough first. */
GUEST_CODE(divisions,
	   "mov $7, %r9d\n"
	   ".rept 8\n"
	   "or $1, %rcx\nxor %edx, %edx\ndiv %rcx\nadd %rdx, %rbx\nmov %rbx, %rax\ncqo\nor $2, %r9\n"
	   "mov %r9, 8(%r14)\nidivq 8(%r14)\n"
	   "mov %ebx, %eax\ncltd\nmov %r9d, %r10d\nor $16, %r10d\nidiv %r10d\nxor %edx, %edx\n"
	   "or $0x100, %r8d\ndiv %r8d\n"
	   "mov %bx, %ax\nxor %dx, %dx\ndivw 8(%r14)\nmovzbl %bl, %eax\nor $0x40, %ch\ndiv %ch\n"
	   "movsbw %bl, %ax\nor $0x10, %cl\nidiv %cl\n"
	   "mov %r11, %rax\nmov $3, %edx\nmov $-5, %r12\ndiv %r12\nmov $-3, %rdx\n"
	   "movabs $0x3000000000000000, %r12\nidiv %r12\n"
	   "imul $0x1357, %rbx\nrol $9, %r9\nadd %rbx, %r11\n"
	   ".endr");

GUEST_CODE(sse,
	   ".irp op, addps, subps, mulps, divps, minps, maxps, andps, orps, xorps, andnps, unpcklps, "
	   "unpckhps, sqrtps, rcpps, "
	   "rsqrtps, addpd, subpd, mulpd, divpd, minpd, maxpd, andpd, orpd, xorpd, andnpd, unpcklpd, "
	   "unpckhpd, sqrtpd, "
	   "paddb, paddw, paddd, paddq, psubb, psubq, pmullw, pmulhw, pmuludq, pmaddwd, psadbw, "
	   "pand, por, pxor, pandn, pcmpeqb, "
	   "pcmpgtd, punpcklbw, punpckhqdq, packsswb, packuswb, pmaxub, pminsw, pavgb, psllq, psrad, "
	   "psrlw, paddsb, psubusw, "
	   "cvtdq2ps, cvtps2dq, cvttps2dq, movaps, movapd, movdqa, movups, movdqu\n"
	   "\\op %xmm1, %xmm2\n\\op %xmm9, %xmm3\n\\op %xmm4, %xmm12\n\\op 0x40(%r14), %xmm5\n"
	   "\\op %fs:0x20, %xmm15\n"
	   "\\op 0x30(%rsp), %xmm4\n"
	   ".endr\n"
	   ".irp op, addss, subss, mulss, divss, minss, maxss, sqrtss, rcpss, rsqrtss, ucomiss, "
	   "comiss, cvtss2sd, addsd, subsd, mulsd, "
	   "divsd, minsd, maxsd, sqrtsd, ucomisd, comisd, cvtsd2ss, movss, movsd, cvtps2pd, cvtdq2pd\n"
	   "\\op %xmm1, %xmm2\n\\op %xmm9, %xmm3\n\\op 12(%r14), %xmm5\n\\op 3(%r14,%r15,4), %xmm15\n"
	   "\\op 0x1060(%rip), %xmm6\n"
	   ".endr\n"
	   ".irp op, cmpps, cmppd, shufps, shufpd, pshufd, pshuflw, pshufhw\n"
	   "\\op $1, %xmm1, %xmm2\n\\op $6, 0x20(%r14), %xmm9\n\\op $0x1B, %xmm3, %xmm3\n"
	   ".endr\n"
	   "cmpss $2, %xmm1, %xmm2\ncmpsd $5, 8(%r14), %xmm3\npslldq $3, %xmm4\npsrldq $9, %xmm11\n"
	   "psrlq $5, %xmm1\npslld $40, %xmm2\n"
	   "cvtsi2ss %ecx, %xmm1\ncvtsi2ss %rcx, %xmm1\ncvtsi2sd %eax, %xmm9\ncvtsi2sdq 8(%r14), %xmm2\n"
	   "cvtsi2sdl 4(%r14), %xmm2\n"
	   "cvtss2si %xmm1, %ecx\ncvttss2si %xmm9, %r9\ncvtsd2si 8(%r14), %rsp\ncvttsd2si %xmm3, %eax\n"
	   "cvtsd2si %xmm3, %rax\n"
	   "cvtpd2ps %xmm1, %xmm2\ncvtpd2dq %xmm1, %xmm2\ncvttpd2dq 0x10(%r14), %xmm2\n"
	   "movd %eax, %xmm1\nmovq %rsp, %xmm2\nmovd %xmm9, %ecx\nmovq %xmm3, %r9\nmovq 8(%r14), %xmm4\n"
	   "movq %xmm4, 8(%r14)\n"
	   "movd %xmm1, 4(%r14)\nmovaps %xmm1, 0x10(%r14)\nmovups %xmm9, 3(%r14)\n"
	   "movdqa %xmm2, -0x10(%rsp)\nmovdqu %xmm2, %gs:5\n"
	   "movss %xmm1, 4(%r14)\nmovsd %xmm9, 9(%r14)\nmovlps 8(%r14), %xmm1\nmovhps 8(%r14), %xmm1\n"
	   "movlps %xmm1, 8(%r14)\n"
	   "movhps %xmm1, 8(%r14)\nmovlpd 1(%r14), %xmm1\nmovhpd %xmm1, 8(%r14)\nmovhlps %xmm1, %xmm2\n"
	   "movlhps %xmm1, %xmm2\n"
	   "movmskps %xmm1, %ecx\nmovmskpd %xmm9, %r9d\npmovmskb %xmm1, %esp\npinsrw $3, %ecx, %xmm1\n"
	   "pinsrw $2, 4(%r14), %xmm1\n"
	   "pextrw $5, %xmm1, %eax\nmovntps %xmm1, 0x20(%r14)\nmovntdq %xmm9, 0x30(%r14)\n"
	   "movntpd %xmm1, (%r14)\n"
	   "stmxcsr 4(%r14)\nmovq %xmm1, %xmm2");
GUEST_CODE(modes,
	   ".irp mode, 0x1F80, 0x3FB3, 0x5F80, 0x7FC0, 0xFFBF, 0x9F81\n"
	   "movl $\\mode, 8(%r14)\nldmxcsr 8(%r14)\naddps %xmm1, %xmm2\nmulpd %xmm3, %xmm4\n"
	   "divss %xmm5, %xmm6\ncvtpd2ps %xmm4, %xmm7\n"
	   "sqrtpd %xmm8, %xmm9\ncvtps2dq %xmm2, %xmm10\nstmxcsr 12(%r14)\nadd 12(%r14), %eax\n"
	   "mulps %xmm11, %xmm12\n"
	   ".endr");

GUEST_CODE(sse_later, /* SSE3 to SSE4.2, AES, PCLMULQDQ, POPCNT, MOVBE, CMPXCHG16B */
	   ".irp op, addsubps, haddpd, hsubps, movshdup, movsldup, pshufb, phaddw, pabsd, psignb, "
	   "pmulhrsw, pmaddubsw, pmulld, pminsd, "
	   "pmaxuw, pcmpeqq, pcmpgtq, packusdw, phminposuw, pblendvb, blendvps, ptest, aesenc, "
	   "aesdeclast, aesimc\n"
	   "\\op %xmm1, %xmm2\n\\op %xmm9, %xmm3\n\\op 0x40(%r14), %xmm5\n"
	   ".endr\n"
	   ".irp op, palignr, roundps, roundpd, blendps, pblendw, mpsadbw, dppd, insertps, "
	   "pcmpistri, pcmpestrm, pcmpestri, pclmulqdq, "
	   "aeskeygenassist\n"
	   "\\op $1, %xmm1, %xmm2\n\\op $3, %xmm9, %xmm9\n"
	   ".endr\n"
	   "lddqu 3(%r14), %xmm1\nmovddup 8(%r14), %xmm2\nroundss $2, 4(%r14), %xmm1\n"
	   "pmovzxbw 8(%r14), %xmm1\npmovsxdq %xmm1, %xmm2\n"
	   "pextrb $3, %xmm1, %ecx\npextrq $1, %xmm9, %rsp\npextrd $2, %xmm1, 4(%r14)\n"
	   "pinsrb $3, %eax, %xmm2\npinsrq $1, 8(%r14), %xmm3\n"
	   "movntdqa 0x10(%r14), %xmm3\nextractps $1, %xmm2, %r9d\n"
	   ".irp op, popcnt\n\\op %rcx, %rdx\n\\op %r9d, %eax\n\\op %bx, %sp\n\\op 8(%r14), %rcx\n.endr\n"
	   "crc32b %ah, %ecx\ncrc32b %r9b, %ecx\ncrc32q 8(%r14), %rax\ncrc32w %cx, %esp\n"
	   "movbe 8(%r14), %rax\nmovbe %ecx, 8(%r14)\nmovbe 2(%r14), %sp\ncmpxchg16b 0x10(%r14)\n"
	   "lock cmpxchg16b 0x20(%r14)");
GUEST_CODE(bits,
	   ".irp op, lzcnt, tzcnt\n\\op %rcx, %rdx\n\\op %r9d, %eax\n\\op %bx, %sp\n\\op 8(%r14), %rcx\n"
	   ".endr\n"
	   ".irp op, andn, pdep, pext\n\\op %rcx, %rdx, %rax\n\\op %r9d, %esp, %eax\n"
	   "\\op 8(%r14), %rbx, %r10\n"
	   "\\op (%r14,%r15,4), %r11d, %esp\n.endr\n"
	   ".irp op, bextr, bzhi, shlx, shrx, sarx\n\\op %rcx, %rdx, %rax\n\\op %esp, %r9d, %ebp\n"
	   "\\op %rcx, 8(%r14), %rsp\n.endr\n"
	   ".irp op, blsi, blsr, blsmsk\n\\op %rcx, %rdx\n\\op %r9d, %esp\n\\op 8(%r14), %r12\n.endr\n"
	   "rorx $5, %rcx, %rdx\nrorx $31, 8(%r14), %esp\nmulx %rcx, %rax, %rbx\n"
	   "mulx 8(%r14), %r9, %rsp\nmulx %esp, %eax, %eax");

GUEST_CODE(loops,
	   "mov $200, %ebx\n1: add %rcx, %rax\nadc 8(%r14), %rdx\nrcr $1, %rsi\nadc %dh, %ah\n"
	   "addps %xmm1, %xmm2\nmulps 0x20(%r14), %xmm3\nincl 4(%r14)\nxor %rsi, %rcx\ndec %ebx\njnz 1b\n"
	   "mov $150, %r9d\n2: lea (%r8,%r10,4), %r11\nror $7, %r11\ntest $1, %r11b\njz 3f\nadd $3, %r8\n"
	   "3: sub $1, %r9d\njne 2b\n"
	   "mov $100, %ecx\n4: incq -8(%rsp)\nmov -8(%rsp), %rax\ncmp %rax, %rdx\nsetl %sil\n"
	   "lock xadd %r12, %gs:8\nsub $1, %ecx\njg 4b\n");

static struct native_pair pair;

static void setup(void)
{
	native_pair_make(&pair);
}

static void teardown(void)
{
	native_pair_destroy(&pair);
}

enum { ROUNDS = 12, SEQUENCES = 300, SEQUENCE = 60 };

START_TEST(binary_operations)
{
	native_pair_run_each(&pair, binary_begin, binary_end, ROUNDS);
}
END_TEST

START_TEST(unary_operations)
{
	native_pair_run_each(&pair, unary_begin, unary_end, ROUNDS);
}
END_TEST

START_TEST(stack_and_strings)
{
	native_pair_run_each(&pair, stack_begin, stack_end, ROUNDS);
}
END_TEST

START_TEST(sse_operations)
{
	native_pair_run_each(&pair, sse_begin, sse_end, ROUNDS);
}
END_TEST

static bool has(uint32_t leaf, uint32_t ebx, uint32_t ecx)
{
	unsigned a, b, c, d;

	return __get_cpuid_count(leaf, 0, &a, &b, &c, &d) && (b & ebx) == ebx && (c & ecx) == ecx;
}

START_TEST(later_operations)
{
	if (has(1, 0, 0x2D82203))
		native_pair_run_each(&pair, sse_later_begin, sse_later_end, ROUNDS);
}
END_TEST

START_TEST(bit_operations)
{
	if (has(7, 0x108, 0) && has(0x80000001u, 0, 0x20))
		native_pair_run_each(&pair, bits_begin, bits_end, ROUNDS);
}
END_TEST

/* Sections are run whole, with other registers each time. */
static void run_whole(const char *name, const uint8_t *code, const uint8_t *code_end)
{
	struct cpu_state state;

	for (unsigned i = 0; i < 10 * ROUNDS; i++) {
		native_pair_state(&pair, &state);
		native_pair_run(&pair, name, code, (size_t)(code_end - code), &state, 0);
	}
}

START_TEST(transfers)
{
	run_whole("branches", branches_begin, branches_end);
	run_whole("calls", calls_begin, calls_end);
	run_whole("loops", loops_begin, loops_end);
}
END_TEST

START_TEST(sections)
{
	run_whole("repeats", repeats_begin, repeats_end);
	run_whole("divisions", divisions_begin, divisions_end);
	run_whole("modes of MXCSR", modes_begin, modes_end);
}
END_TEST

/* Some hosts run ring 3 with flags that the guest has not set, and let it see them. */
static bool shows_own_flags(void)
{
	static const uint8_t push_flags[] = { 0x9C, 0xE6, 0x80 };
	struct cpu_state state;
	uint64_t flags;

	native_pair_state(&pair, &state);
	must_succeed(ram_write(&pair.guest.ram, GUEST_MACHINE_CODE, push_flags, sizeof(push_flags)));
	must_succeed(machine_import(&pair.guest.machine, &state, false));
	ck_assert_int_eq(guest_machine_step(&pair.guest), OUTCOME_RUN);
	guest_machine_settle(&pair.guest);
	must_succeed(ram_read(&pair.guest.ram, state.gpr[GPR_RSP] - 8, &flags, sizeof(flags)));
	return flags == state.rflags;
}

START_TEST(moved_flags)
{
	if (shows_own_flags())
		run_whole("flags", flags_moved_begin, flags_moved_end);
	else
		printf("skip moved_flags: this host shows its own flags to ring 3\n");
}
END_TEST

START_TEST(sequences)
{
	native_pair_run_mixed(&pair, unary_begin, unary_end, SEQUENCE, SEQUENCES);
	native_pair_run_mixed(&pair, sse_begin, sse_end, SEQUENCE, SEQUENCES);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("native steps");
	TCase *tests = tcase_create("beside a vCPU");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, binary_operations);
	tcase_add_test(tests, unary_operations);
	tcase_add_test(tests, stack_and_strings);
	tcase_add_test(tests, sse_operations);
	tcase_add_test(tests, later_operations);
	tcase_add_test(tests, bit_operations);
	tcase_add_test(tests, transfers);
	tcase_add_test(tests, sections);
	tcase_add_test(tests, moved_flags);
	tcase_add_test(tests, sequences);
	tcase_set_timeout(tests, 100);
	if (guest_machine_available("native steps"))
		suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
