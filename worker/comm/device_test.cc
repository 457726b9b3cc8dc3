// Opening devices: the CPU always; CUDA with the loader's words or not at all.
#include "worker/comm/device.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "worker/comm/local_rendezvous.h"

namespace ursa {
namespace {

TEST(OpenAcceleratorTest, Cpu) {
  const auto cpu = OpenAccelerator("cpu", "");
  ASSERT_TRUE(cpu.ok()) << cpu.status();
  EXPECT_EQ((*cpu)->num_devices(), 1);
  EXPECT_TRUE((*cpu)->Device(0)->is_cpu());
  EXPECT_EQ(*(*cpu)->Device(3), at::Device(at::kCPU));
  const auto alone = (*cpu)->MakeCollective(std::make_shared<MemoryRendezvousStore>(), 0, 1, at::Device(at::kCPU),
                                            "127.0.0.1", absl::Seconds(10));
  ASSERT_TRUE(alone.ok()) << alone.status();
  EXPECT_EQ((*alone)->world_size(), 1);
}

TEST(OpenAcceleratorTest, UnknownKind) {
  EXPECT_EQ(OpenAccelerator("tpu", "").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(OpenAcceleratorTest, MissingPlugin) {
  const absl::Status status = OpenAccelerator("cuda", "/nonexistent/libursa_cuda.so").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(status.message().find("/nonexistent/libursa_cuda.so"), std::string::npos) << status;
}

TEST(LoadAcceleratorTest, SaysTheSameWithoutADevice) {
  EXPECT_TRUE(LoadAccelerator("cpu", "").ok());
  EXPECT_EQ(LoadAccelerator("tpu", "").code(), absl::StatusCode::kInvalidArgument);
  const absl::Status missing = LoadAccelerator("cuda", "/nonexistent/libursa_cuda.so");
  EXPECT_EQ(missing.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(missing.message().find("/nonexistent/libursa_cuda.so"), std::string::npos) << missing;
}

TEST(OpenAcceleratorTest, CudaWorksOrSaysWhyNot) {
  const auto cuda = OpenAccelerator("cuda", std::getenv("URSA_CUDA_PLUGIN"));
  if (cuda.ok()) {
    EXPECT_GE((*cuda)->num_devices(), 1);
    EXPECT_TRUE((*cuda)->Device(0)->is_cuda());
    EXPECT_EQ((*cuda)->Device((*cuda)->num_devices()).status().code(), absl::StatusCode::kInvalidArgument);
    return;
  }
  // Without torch's CUDA set the loader names the library that is missing; without a GPU the driver speaks.
  EXPECT_EQ(cuda.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_GT(cuda.status().message().size(), std::string("device cuda: ").size()) << cuda.status();
  std::cout << cuda.status() << "\n";
}

}  // namespace
}  // namespace ursa
