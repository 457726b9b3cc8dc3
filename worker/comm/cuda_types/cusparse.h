// The names of cuSPARSE that torch's headers mention. The plug-in calls nothing of it, and the real
// header is a wheel of hundreds of megabytes; found after the real one where that is installed.
#ifndef URSA_WORKER_COMM_CUDA_TYPES_CUSPARSE_H_
#define URSA_WORKER_COMM_CUDA_TYPES_CUSPARSE_H_

typedef struct cusparseContext* cusparseHandle_t;
typedef enum { CUSPARSE_STATUS_SUCCESS = 0 } cusparseStatus_t;
extern "C" const char* cusparseGetErrorString(cusparseStatus_t status);

#endif  // URSA_WORKER_COMM_CUDA_TYPES_CUSPARSE_H_
