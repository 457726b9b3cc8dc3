#include "worker/agent/health/machine_reader.h"

#include <cstdio>
#include <vector>

#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

TEST(MachineReaderTest, ReadsOnAThreadOfItsOwnAsOftenAsAsked) {
  std::vector<int64_t> read;
  absl::Notification may_read, all_read;
  {
    int64_t next = 1;
    MachineReader reader(
        [&] {
          may_read.WaitForNotification();
          return MachineReading{next++, {}};
        },
        [&](MachineReading reading) {
          read.push_back(reading.free_disk_bytes);
          if (read.size() == 2) all_read.Notify();
        });
    reader.Request();  // returns while the reading is held up
    reader.Request();
    may_read.Notify();
    all_read.WaitForNotification();
  }
  EXPECT_EQ(read, (std::vector<int64_t>{1, 2}));
}

// Four devices, of which each has its index times 1 GiB in use.
std::unique_ptr<Nvml> FourGpus() {
  NvmlFunctions functions;
  functions.init = [] { return 0; };
  functions.shutdown = [] { return 0; };
  functions.error_string = [](int) { return "Unknown Error"; };
  functions.device_count = [](unsigned int* count) { return *count = 4, 0; };
  functions.device_by_index = [](unsigned int index, void** device) {
    *device = reinterpret_cast<void*>(static_cast<intptr_t>(index + 1));
    return 0;
  };
  functions.device_name = [](void*, char* name, unsigned int length) {
    return std::snprintf(name, length, "GPU") < 0 ? 1 : 0;
  };
  functions.device_uuid = [](void* device, char* uuid, unsigned int length) {
    return std::snprintf(uuid, length, "GPU-%d", static_cast<int>(reinterpret_cast<intptr_t>(device)) - 1) < 0 ? 1 : 0;
  };
  functions.memory = [](void* device, NvmlFunctions::Memory* memory) {
    memory->used = static_cast<unsigned long long>(reinterpret_cast<intptr_t>(device) - 1) << 30;
    return 0;
  };
  functions.ecc_errors = [](void*, int, int, unsigned long long*) { return NvmlFunctions::kNotSupported; };
  return *Nvml::Open(functions);
}

TEST(GpuSlotsTest, ASlotIsADeviceThatCudaShows) {
  const auto all = GpuSlots::Find(FourGpus(), std::nullopt, std::nullopt);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ((*all)->devices().size(), 4u);
  const auto some = GpuSlots::Find(FourGpus(), 1, "3,1");
  ASSERT_TRUE(some.ok()) << some.status();
  ASSERT_EQ((*some)->devices().size(), 1u);
  EXPECT_EQ((*some)->devices()[0].uuid(), "GPU-3");
  EXPECT_EQ((*some)->devices()[0].index(), 0);
  EXPECT_EQ((*some)->Read()[0]->used_bytes, int64_t{3} << 30);
}

TEST(GpuSlotsTest, TooFewAreAnError) {
  EXPECT_EQ(GpuSlots::Find(FourGpus(), 5, std::nullopt).status().message(),
            "worker: cannot have 5 cuda slots, this machine has 4 GPUs");
  EXPECT_EQ(GpuSlots::Find(FourGpus(), std::nullopt, "").status().message(),
            "worker: cannot have cuda slots, this machine has 4 GPUs, of which CUDA_VISIBLE_DEVICES= shows 0");
}

TEST(FreeDiskBytesTest, OfAFolder) {
  EXPECT_GT(FreeDiskBytes(testing::TempDir()), 0);
  EXPECT_EQ(FreeDiskBytes(testing::TempDir() + "/nowhere"), 0);
}

}  // namespace
}  // namespace ursa
