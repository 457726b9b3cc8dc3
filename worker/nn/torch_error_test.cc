#include "worker/nn/torch_error.h"

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <new>
#include <stdexcept>

#include "base/failure_cause.h"

namespace ursa {
namespace {

absl::Status StatusOf(const std::exception& error) {
  return TorchErrorStatus("training", error, absl::StatusCode::kUnavailable);
}

TEST(TorchErrorTest, TheAllocatorsErrorIsOutOfMemory) {
  try {
    at::empty({int64_t{1} << 55}, at::kByte);
    FAIL() << "nobody has 32 PiB";
  } catch (const std::exception& error) {
    const absl::Status status = StatusOf(error);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_EQ(CauseOf(status), FailureCause::kOutOfMemory);
  }
  EXPECT_EQ(CauseOf(StatusOf(std::bad_alloc())), FailureCause::kOutOfMemory);
}

TEST(TorchErrorTest, DevicesOwnErrors) {
  const absl::Status status = StatusOf(std::runtime_error("CUDA error: uncorrectable ECC error encountered"));
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(CauseOf(status), FailureCause::kHardware);
}

TEST(TorchErrorTest, OthersHaveTheCodeOfThePlace) {
  const absl::Status status = StatusOf(std::runtime_error("connection closed by peer"));
  EXPECT_EQ(status, absl::UnavailableError("training: connection closed by peer"));
  EXPECT_EQ(CauseOf(status), FailureCause::kUnknown);
}

}  // namespace
}  // namespace ursa
