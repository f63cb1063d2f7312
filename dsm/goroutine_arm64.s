#include "textflag.h"

// func descriptorWord(i int) uint64
TEXT ·descriptorWord(SB), NOSPLIT|NOFRAME, $0-16
	MOVD i+0(FP), R0
	MOVD (g)(R0<<3), R0
	MOVD R0, ret+8(FP)
	RET
