#ifndef URSA_BASE_STATUS_MACROS_H_
#define URSA_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns from the enclosing function if `expression`, an absl::Status, is an error.
#define URSA_RETURN_IF_ERROR(expression)         \
  do {                                           \
    ::absl::Status ursa_status_ = (expression);  \
    if (!ursa_status_.ok()) return ursa_status_; \
  } while (false)

// Evaluates `expression`, an absl::StatusOr<T>; returns its error, or assigns its value to `lhs`.
#define URSA_ASSIGN_OR_RETURN(lhs, expression) \
  URSA_ASSIGN_OR_RETURN_IMPL_(URSA_CONCAT_(ursa_statusor_, __LINE__), lhs, expression)

#define URSA_CONCAT_INNER_(a, b) a##b
#define URSA_CONCAT_(a, b) URSA_CONCAT_INNER_(a, b)
#define URSA_ASSIGN_OR_RETURN_IMPL_(statusor, lhs, expression) \
  auto statusor = (expression);                                \
  if (!statusor.ok()) return std::move(statusor).status();     \
  lhs = *std::move(statusor)

#endif  // URSA_BASE_STATUS_MACROS_H_
