// The names of cuBLAS that torch's headers mention. The plug-in calls nothing of it, and the real
// header is a wheel of hundreds of megabytes; found after the real one where that is installed.
#ifndef URSA_WORKER_COMM_CUDA_TYPES_CUBLAS_V2_H_
#define URSA_WORKER_COMM_CUDA_TYPES_CUBLAS_V2_H_

typedef struct cublasContext* cublasHandle_t;
typedef enum { CUBLAS_STATUS_SUCCESS = 0 } cublasStatus_t;

#endif  // URSA_WORKER_COMM_CUDA_TYPES_CUBLAS_V2_H_
