// The names of cuSOLVER that torch's headers mention. The plug-in calls nothing of it, and the real
// header is a wheel of hundreds of megabytes; found after the real one where that is installed.
#ifndef URSA_WORKER_COMM_CUDA_TYPES_CUSOLVERDN_H_
#define URSA_WORKER_COMM_CUDA_TYPES_CUSOLVERDN_H_

typedef struct cusolverDnContext* cusolverDnHandle_t;
typedef enum { CUSOLVER_STATUS_SUCCESS = 0 } cusolverStatus_t;

#endif  // URSA_WORKER_COMM_CUDA_TYPES_CUSOLVERDN_H_
