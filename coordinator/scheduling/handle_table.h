// Entries that are found by a number.
#ifndef URSA_COORDINATOR_SCHEDULING_HANDLE_TABLE_H_
#define URSA_COORDINATOR_SCHEDULING_HANDLE_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ursa {

// Gives out handles from 0 on, first those that were given back. In chunks, so that a table that grows copies nothing:
// an entry stays where it is. A value.
template <typename T>
class HandleTable {
 public:
  // The entry has the content of whoever had the handle before, or none.
  int32_t Add() {
    if (!unused_.empty()) {
      const int32_t handle = unused_.back();
      unused_.pop_back();
      return handle;
    }
    if (num_handles_ % kChunk == 0) chunks_.emplace_back(kChunk);
    return num_handles_++;
  }
  // The entry stays as it is until it is used again.
  void GiveBack(int32_t handle) { unused_.push_back(handle); }

  // Handles are below that, unused ones among them.
  int32_t num_handles() const { return num_handles_; }
  T& operator[](int32_t handle) { return chunks_[Chunk(handle)][Index(handle)]; }
  const T& operator[](int32_t handle) const { return chunks_[Chunk(handle)][Index(handle)]; }

 private:
  static constexpr int32_t kChunk = 64;

  static size_t Chunk(int32_t handle) { return static_cast<size_t>(handle) / kChunk; }
  static size_t Index(int32_t handle) { return static_cast<size_t>(handle) % kChunk; }

  std::vector<std::vector<T>> chunks_;
  std::vector<int32_t> unused_;
  int32_t num_handles_ = 0;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_SCHEDULING_HANDLE_TABLE_H_
