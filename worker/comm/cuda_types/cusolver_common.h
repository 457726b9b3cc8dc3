// The names of cuSOLVER that torch's headers mention. The plug-in calls nothing of it, and the real
// header is a wheel of hundreds of megabytes; found after the real one where that is installed.
#ifndef URSA_WORKER_COMM_CUDA_TYPES_CUSOLVER_COMMON_H_
#define URSA_WORKER_COMM_CUDA_TYPES_CUSOLVER_COMMON_H_

#include "cusolverDn.h"

#endif  // URSA_WORKER_COMM_CUDA_TYPES_CUSOLVER_COMMON_H_
