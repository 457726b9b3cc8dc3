#include "worker/agent/health/nvml.h"

#include <cstdio>

#include "gtest/gtest.h"

namespace ursa {
namespace {

// What the fake library answers; devices are numbered from 1, so that none is null.
struct FakeDevice {
  const char* name = "NVIDIA H100 80GB HBM3";
  const char* uuid = "GPU-1";
  unsigned long long used = 4 << 20;
  int memory_result = 0;
  int ecc_result = 0;
  unsigned long long num_errors = 0;
  unsigned int is_pending = 0;
  unsigned int has_failed = 0;
};
FakeDevice g_devices[2];
int g_init_result = 0;
int g_num_open = 0;

const FakeDevice& At(void* device) { return g_devices[reinterpret_cast<intptr_t>(device) - 1]; }

NvmlFunctions FakeFunctions() {
  NvmlFunctions functions;
  functions.init = [] { return g_init_result != 0 ? g_init_result : (++g_num_open, 0); };
  functions.shutdown = [] { return --g_num_open, 0; };
  functions.error_string = [](int result) { return result == 15 ? "GPU is lost" : "Unknown Error"; };
  functions.device_count = [](unsigned int* count) { return *count = 2, 0; };
  functions.device_by_index = [](unsigned int index, void** device) {
    *device = reinterpret_cast<void*>(static_cast<intptr_t>(index + 1));
    return index < 2 ? 0 : 2;
  };
  functions.device_name = [](void* device, char* name, unsigned int length) {
    return std::snprintf(name, length, "%s", At(device).name) < 0 ? 1 : 0;
  };
  functions.device_uuid = [](void* device, char* uuid, unsigned int length) {
    return std::snprintf(uuid, length, "%s", At(device).uuid) < 0 ? 1 : 0;
  };
  functions.memory = [](void* device, NvmlFunctions::Memory* memory) {
    *memory = {80ull << 30, 0, At(device).used + (600 << 20)};
    return At(device).memory_result;
  };
  functions.ecc_errors = [](void* device, int error_type, int counter, unsigned long long* count) {
    *count = error_type == 1 && counter == 0 ? At(device).num_errors : 777;
    return At(device).ecc_result;
  };
  return functions;
}

class NvmlTest : public testing::Test {
 protected:
  NvmlTest() {
    for (FakeDevice& device : g_devices) device = FakeDevice();
    g_devices[1].uuid = "GPU-2";
    g_init_result = 0;
  }
  ~NvmlTest() override { EXPECT_EQ(g_num_open, 0); }
};

TEST_F(NvmlTest, ListsDevices) {
  const auto nvml = Nvml::Open(FakeFunctions());
  ASSERT_TRUE(nvml.ok()) << nvml.status();
  const auto gpus = (*nvml)->List();
  ASSERT_TRUE(gpus.ok()) << gpus.status();
  ASSERT_EQ(gpus->size(), 2u);
  EXPECT_EQ((*gpus)[0].name, "NVIDIA H100 80GB HBM3");
  EXPECT_EQ((*gpus)[1].uuid, "GPU-2");
  EXPECT_EQ((*gpus)[1].memory_bytes, int64_t{80} << 30);
}

TEST_F(NvmlTest, ReadsWhatTheDriverKnows) {
  NvmlFunctions functions = FakeFunctions();
  g_devices[1].num_errors = 3;
  EXPECT_EQ((*Nvml::Open(functions))->Read(1)->num_memory_errors, 3);
  EXPECT_EQ((*Nvml::Open(functions))->Read(1)->used_bytes, 604 << 20);  // an old driver counts its own
  EXPECT_FALSE((*Nvml::Open(functions))->Read(1)->is_remap_pending);
  functions.memory_v2 = [](void* device, NvmlFunctions::MemoryV2* memory) {
    if (memory->version != (sizeof(NvmlFunctions::MemoryV2) | (2u << 24))) return 25;
    memory->used = At(device).used;
    return 0;
  };
  functions.remapped_rows = [](void* device, unsigned int*, unsigned int*, unsigned int* pending,
                               unsigned int* failed) {
    *pending = At(device).is_pending;
    *failed = At(device).has_failed;
    return 0;
  };
  g_devices[0].is_pending = 1;
  g_devices[1].has_failed = 1;
  EXPECT_EQ((*Nvml::Open(functions))->Read(0)->used_bytes, 4 << 20);
  EXPECT_TRUE((*Nvml::Open(functions))->Read(0)->is_remap_pending);
  EXPECT_TRUE((*Nvml::Open(functions))->Read(1)->has_remap_failed);
}

TEST_F(NvmlTest, ADeviceWithoutEccHasNoErrors) {
  g_devices[0].ecc_result = NvmlFunctions::kNotSupported;
  g_devices[0].num_errors = 5;
  EXPECT_EQ((*Nvml::Open(FakeFunctions()))->Read(0)->num_memory_errors, 0);
}

TEST_F(NvmlTest, SaysWhatNvmlSays) {
  g_devices[0].memory_result = 15;
  EXPECT_EQ((*Nvml::Open(FakeFunctions()))->Read(0).status().message(), "NVML: device 0: memory: GPU is lost");
  g_init_result = 9;
  EXPECT_EQ(Nvml::Open(FakeFunctions()).status().message(), "NVML: start: Unknown Error");
}

TEST_F(NvmlTest, ALibraryThatIsNotThereIsNamed) {
  const absl::Status missing = LoadNvml("libno-such-nvml.so.1").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(missing.message().find("libno-such-nvml.so.1: cannot be loaded"), std::string::npos) << missing;
  const absl::Status other = LoadNvml("libc.so.6").status();
  EXPECT_NE(other.message().find("library libc.so.6: has no function nvmlInit_v2"), std::string::npos) << other;
}

TEST_F(NvmlTest, TheRealOneIsAskedWhereThereIsOne) {
  const auto functions = LoadNvml();
  if (!functions.ok()) GTEST_SKIP() << "skipped: " << functions.status().message();
  const auto nvml = Nvml::Open(*functions);
  if (!nvml.ok()) GTEST_SKIP() << "skipped: " << nvml.status().message();
  const auto gpus = (*nvml)->List();
  ASSERT_TRUE(gpus.ok()) << gpus.status();
  for (size_t i = 0; i < gpus->size(); ++i) {
    EXPECT_EQ((*gpus)[i].uuid.rfind("GPU-", 0), 0u) << (*gpus)[i].uuid;
    const auto reading = (*nvml)->Read(static_cast<int>(i));
    ASSERT_TRUE(reading.ok()) << reading.status();
    EXPECT_LE(reading->used_bytes, (*gpus)[i].memory_bytes);
  }
}

TEST_F(NvmlTest, WhichDevicesCudaShows) {
  std::vector<GpuInfo> gpus(3);
  gpus[0].uuid = "GPU-aa1";
  gpus[1].uuid = "GPU-aa2";
  gpus[2].uuid = "GPU-b";
  const struct {
    std::optional<std::string> value;
    std::vector<int> visible;
  } kCases[] = {
      {std::nullopt, {0, 1, 2}}, {"", {}},         {"1", {1}},          {"2,0", {2, 0}},
      {" 1 , 2", {1, 2}},        {"0,3,1", {0}},   {"0,-1,1", {0}},     {"NoDevFiles", {}},
      {"GPU-b,0", {2, 0}},       {"GPU-aa1", {0}}, {"1,GPU-aa,0", {1}}, {"0,0", {}},
      {"0,GPU-aa1", {}},         {"MIG-x", {}},
  };
  for (const auto& c : kCases) EXPECT_EQ(VisibleGpus(gpus, c.value), c.visible) << c.value.value_or("(none)");
}

}  // namespace
}  // namespace ursa
