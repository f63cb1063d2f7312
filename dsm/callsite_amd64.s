#include "go_asm.h"
#include "textflag.h"

// func callerPC() uintptr
//
// BP is the frame pointer of the function that calls callerPC: the wrapper through which Go calls assembly
// leaves it alone. Its return address lies above.
TEXT ·callerPC(SB), NOSPLIT|NOFRAME, $0-8
	MOVQ 8(BP), AX
	MOVQ AX, ret+0(FP)
	RET

// func callers(pcs *[maxCalls]uintptr) int
//
// A frame pointer points to that of the calling function, which lies above; the first function of a goroutine
// finds zero there.
TEXT ·callers(SB), NOSPLIT|NOFRAME, $0-16
	MOVQ pcs+0(FP), DI
	MOVQ BP, SI
	XORQ CX, CX
	TESTQ SI, SI
	JEQ  done
next:
	MOVQ 8(SI), AX
	MOVQ AX, (DI)(CX*8)
	INCQ CX
	MOVQ (SI), AX
	CMPQ AX, SI
	JLS  done
	MOVQ AX, SI
	CMPQ CX, $const_maxCalls
	JLT  next
done:
	MOVQ CX, ret+8(FP)
	RET
