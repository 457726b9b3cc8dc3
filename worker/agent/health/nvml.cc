#include "worker/agent/health/nvml.h"

#include <dlfcn.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"

namespace ursa {
namespace {

constexpr unsigned int kTextBytes = 96;
constexpr int kUncorrectable = 1;  // NVML_MEMORY_ERROR_TYPE_UNCORRECTED
constexpr int kSinceReset = 0;     // NVML_VOLATILE_ECC
constexpr unsigned int kMemoryV2 = sizeof(NvmlFunctions::MemoryV2) | (2u << 24);

// Resolves the library's functions into a table.
class Resolver {
 public:
  Resolver(void* library, std::string name) : library_(library), name_(std::move(name)) {}

  template <typename Function>
  void Find(const char* symbol, bool is_optional, Function* function) {
    *function = reinterpret_cast<Function>(::dlsym(library_, symbol));
    if (*function == nullptr && !is_optional && status_.ok()) {
      status_ = absl::UnavailableError(absl::StrCat("library ", name_, ": has no function ", symbol));
    }
  }
  const absl::Status& status() const { return status_; }

 private:
  void* const library_;
  const std::string name_;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<NvmlFunctions> LoadNvml(const std::string& library) {
  void* const loaded = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (loaded == nullptr) {
    const char* why = ::dlerror();
    return absl::UnavailableError(absl::StrCat("library ", library, ": cannot be loaded, ", why == nullptr ? "" : why,
                                               " (hint: it comes with NVIDIA's driver)"));
  }
  NvmlFunctions functions;
  Resolver resolver(loaded, library);
  resolver.Find("nvmlInit_v2", false, &functions.init);
  resolver.Find("nvmlShutdown", false, &functions.shutdown);
  resolver.Find("nvmlErrorString", false, &functions.error_string);
  resolver.Find("nvmlDeviceGetCount_v2", false, &functions.device_count);
  resolver.Find("nvmlDeviceGetHandleByIndex_v2", false, &functions.device_by_index);
  resolver.Find("nvmlDeviceGetName", false, &functions.device_name);
  resolver.Find("nvmlDeviceGetUUID", false, &functions.device_uuid);
  resolver.Find("nvmlDeviceGetMemoryInfo", false, &functions.memory);
  resolver.Find("nvmlDeviceGetMemoryInfo_v2", true, &functions.memory_v2);
  resolver.Find("nvmlDeviceGetTotalEccErrors", false, &functions.ecc_errors);
  resolver.Find("nvmlDeviceGetRemappedRows", true, &functions.remapped_rows);
  if (!resolver.status().ok()) {
    ::dlclose(loaded);
    return resolver.status();
  }
  return functions;
}

absl::StatusOr<std::unique_ptr<Nvml>> Nvml::Open(const NvmlFunctions& functions) {
  const int result = functions.init();
  if (result != NvmlFunctions::kSuccess) {
    return absl::InternalError(absl::StrCat("NVML: start: ", functions.error_string(result)));
  }
  return std::unique_ptr<Nvml>(new Nvml(functions));
}

Nvml::~Nvml() { functions_.shutdown(); }

absl::Status Nvml::Check(int result, const std::string& what) const {
  if (result == NvmlFunctions::kSuccess) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("NVML: ", what, ": ", functions_.error_string(result)));
}

absl::StatusOr<void*> Nvml::Find(int index) const {
  void* device = nullptr;
  URSA_RETURN_IF_ERROR(
      Check(functions_.device_by_index(static_cast<unsigned int>(index), &device), absl::StrCat("device ", index)));
  return device;
}

absl::StatusOr<std::vector<GpuInfo>> Nvml::List() const {
  unsigned int count = 0;
  URSA_RETURN_IF_ERROR(Check(functions_.device_count(&count), "number of devices"));
  std::vector<GpuInfo> gpus;
  for (int index = 0; index < static_cast<int>(count); ++index) {
    URSA_ASSIGN_OR_RETURN(void* const device, Find(index));
    const std::string what = absl::StrCat("device ", index);
    GpuInfo gpu;
    char text[kTextBytes] = "";
    URSA_RETURN_IF_ERROR(Check(functions_.device_name(device, text, kTextBytes), what + ": name"));
    gpu.name = text;
    URSA_RETURN_IF_ERROR(Check(functions_.device_uuid(device, text, kTextBytes), what + ": UUID"));
    gpu.uuid = text;
    NvmlFunctions::Memory memory{};
    URSA_RETURN_IF_ERROR(Check(functions_.memory(device, &memory), what + ": memory"));
    gpu.memory_bytes = static_cast<int64_t>(memory.total);
    gpus.push_back(std::move(gpu));
  }
  return gpus;
}

absl::StatusOr<GpuReading> Nvml::Read(int index) const {
  URSA_ASSIGN_OR_RETURN(void* const device, Find(index));
  const std::string what = absl::StrCat("device ", index);
  GpuReading reading;
  NvmlFunctions::MemoryV2 memory_v2{};
  memory_v2.version = kMemoryV2;
  if (functions_.memory_v2 != nullptr && functions_.memory_v2(device, &memory_v2) == NvmlFunctions::kSuccess) {
    reading.used_bytes = static_cast<int64_t>(memory_v2.used);
  } else {
    NvmlFunctions::Memory memory{};
    URSA_RETURN_IF_ERROR(Check(functions_.memory(device, &memory), what + ": memory"));
    reading.used_bytes = static_cast<int64_t>(memory.used);
  }
  unsigned long long num_errors = 0;
  const int ecc = functions_.ecc_errors(device, kUncorrectable, kSinceReset, &num_errors);
  if (ecc != NvmlFunctions::kNotSupported) {
    URSA_RETURN_IF_ERROR(Check(ecc, what + ": memory errors"));
    reading.num_memory_errors = static_cast<int64_t>(num_errors);
  }
  if (functions_.remapped_rows == nullptr) return reading;
  unsigned int correctable = 0, uncorrectable = 0, is_pending = 0, has_failed = 0;
  const int rows = functions_.remapped_rows(device, &correctable, &uncorrectable, &is_pending, &has_failed);
  if (rows == NvmlFunctions::kNotSupported) return reading;
  URSA_RETURN_IF_ERROR(Check(rows, what + ": remapped rows"));
  reading.is_remap_pending = is_pending != 0;
  reading.has_remap_failed = has_failed != 0;
  return reading;
}

std::vector<int> VisibleGpus(const std::vector<GpuInfo>& gpus, const std::optional<std::string>& value) {
  std::vector<int> visible;
  if (!value) {
    for (size_t i = 0; i < gpus.size(); ++i) visible.push_back(static_cast<int>(i));
    return visible;
  }
  for (const absl::string_view part : absl::StrSplit(*value, ',')) {
    const absl::string_view word = absl::StripAsciiWhitespace(part);
    int index = -1;
    if (absl::StartsWith(word, "GPU-")) {
      const auto fits = [word](const GpuInfo& gpu) { return absl::StartsWith(gpu.uuid, word); };
      const auto found = std::find_if(gpus.begin(), gpus.end(), fits);
      if (std::count_if(gpus.begin(), gpus.end(), fits) == 1) index = static_cast<int>(found - gpus.begin());
    } else if (!absl::SimpleAtoi(word, &index)) {
      index = -1;
    }
    if (index < 0 || index >= static_cast<int>(gpus.size())) break;
    if (std::count(visible.begin(), visible.end(), index) > 0) return {};  // CUDA shows none then
    visible.push_back(index);
  }
  return visible;
}

}  // namespace ursa
