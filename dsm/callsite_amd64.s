#include "textflag.h"

// func callerPC() uintptr
//
// BP is the frame pointer of the function that calls callerPC: the wrapper through which Go calls assembly
// leaves it alone. Its return address lies above.
TEXT ·callerPC(SB), NOSPLIT|NOFRAME, $0-8
	MOVQ 8(BP), AX
	MOVQ AX, ret+0(FP)
	RET
