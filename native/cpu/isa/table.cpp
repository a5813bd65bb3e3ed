// The function table of one ISA: which kernel does what. The kernels are declared by their families' headers.
#include "../kernels.h"
#include "attention.h"
#include "elementwise.h"
#include "linear.h"
#include "recur.h"
#include "route.h"
#include "sample.h"
#include "scan.h"

#define MILLRACE_TEXT(x) #x
#define MILLRACE_NAME(x) MILLRACE_TEXT(x)

namespace millrace::MILLRACE_ISA {

extern const Kernels kernels;
const Kernels kernels = {
    .name = MILLRACE_NAME(MILLRACE_ISA),
    .linear = linear,
    .linearScratchBytes = linearScratchBytes,
    .linearRows = linearRows,
    .quantizeRows = quantizeRows,
    .dequantizeRow = dequantizeRow,
    .rmsNorm = rmsNorm,
    .layerNorm = layerNorm,
    .ropeTable = ropeTable,
    .rope = rope,
    .gate = gate,
    .gatePairs = gatePairs,
    .activate = activate,
    .add = add,
    .scale = scale,
    .clamp = clamp,
    .softcap = softcap,
    .columnScale = columnScale,
    .route = route,
    .kvStateBytes = kvStateBytes,
    .kvWrite = kvWrite,
    .kvMove = kvMove,
    .attendRows = attendRows,
    .attendTile = attendTile,
    .attendMerge = attendMerge,
    .attendScratchBytes = attendScratchBytes,
    .conv = conv,
    .scanRow = scanRow,
    .scanAdvance = scanAdvance,
    .columnFactors = columnFactors,
    .selectiveAdvance = selectiveAdvance,
    .selectiveRead = selectiveRead,
    .wkvBegin = wkvBegin,
    .wkvAdvance = wkvAdvance,
    .wkvRead = wkvRead,
    .matrixAdvance = matrixAdvance,
    .matrixRead = matrixRead,
    .sample = sample,
    .logprob = logprob,
};

}  // namespace millrace::MILLRACE_ISA
