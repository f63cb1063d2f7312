#include "textflag.h"

// func descriptorWord(i int) uint64
TEXT ·descriptorWord(SB), NOSPLIT|NOFRAME, $0-16
	MOVQ (TLS), AX
	MOVQ i+0(FP), CX
	MOVQ (AX)(CX*8), AX
	MOVQ AX, ret+8(FP)
	RET
