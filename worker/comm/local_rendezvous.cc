#include "worker/comm/local_rendezvous.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace ursa {
namespace {

constexpr absl::Duration kPollInterval = absl::Milliseconds(5);

absl::Status Late(const std::string& key) {
  return absl::DeadlineExceededError(absl::StrCat("key \"", key, "\" did not come in time"));
}

}  // namespace

absl::Status MemoryRendezvousStore::Set(const std::string& key, const std::string& value) {
  absl::MutexLock lock(&mu_);
  values_[key] = value;
  return absl::OkStatus();
}

absl::StatusOr<std::string> MemoryRendezvousStore::Get(const std::string& key, absl::Duration timeout) {
  URSA_RETURN_IF_ERROR(Wait({key}, timeout));
  absl::MutexLock lock(&mu_);
  return values_[key];
}

absl::StatusOr<int64_t> MemoryRendezvousStore::Add(const std::string& key, int64_t delta) {
  absl::MutexLock lock(&mu_);
  const int64_t sum = std::atoll(values_[key].c_str()) + delta;
  values_[key] = absl::StrCat(sum);
  return sum;
}

absl::StatusOr<bool> MemoryRendezvousStore::Check(const std::vector<std::string>& keys) {
  absl::MutexLock lock(&mu_);
  for (const std::string& key : keys) {
    if (values_.count(key) == 0) return false;
  }
  return true;
}

absl::Status MemoryRendezvousStore::Wait(const std::vector<std::string>& keys, absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  absl::MutexLock lock(&mu_);
  for (const std::string& key : keys) {
    const auto is_there = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return values_.count(key) > 0; };
    if (!mu_.AwaitWithDeadline(absl::Condition(&is_there), deadline)) return Late(key);
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> MemoryRendezvousStore::Delete(const std::string& key) {
  absl::MutexLock lock(&mu_);
  return values_.erase(key) > 0;
}

std::string FileRendezvousStore::PathOf(const std::string& key) const {
  return absl::StrCat(folder_, "/", Sha256Hex(key));
}

absl::Status FileRendezvousStore::Set(const std::string& key, const std::string& value) {
  return WriteFileAtomically(PathOf(key), value);
}

absl::StatusOr<std::string> FileRendezvousStore::Get(const std::string& key, absl::Duration timeout) {
  URSA_RETURN_IF_ERROR(Wait({key}, timeout));
  return ReadFile(PathOf(key));
}

absl::StatusOr<int64_t> FileRendezvousStore::Add(const std::string& key, int64_t delta) {
  const std::string lock_path = folder_ + "/lock";
  const int lock = open(lock_path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (lock < 0 || flock(lock, LOCK_EX) != 0) return ErrnoStatus(errno, lock_path);
  const absl::StatusOr<std::string> old = ReadFile(PathOf(key));
  const int64_t sum = (old.ok() ? std::atoll(old->c_str()) : 0) + delta;
  const absl::Status status = Set(key, absl::StrCat(sum));
  close(lock);
  if (!status.ok()) return status;
  return sum;
}

absl::StatusOr<bool> FileRendezvousStore::Check(const std::vector<std::string>& keys) {
  for (const std::string& key : keys) {
    if (access(PathOf(key).c_str(), F_OK) != 0) return false;
  }
  return true;
}

absl::Status FileRendezvousStore::Wait(const std::vector<std::string>& keys, absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  for (const std::string& key : keys) {
    while (access(PathOf(key).c_str(), F_OK) != 0) {
      if (absl::Now() > deadline) return Late(key);
      absl::SleepFor(kPollInterval);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> FileRendezvousStore::Delete(const std::string& key) { return unlink(PathOf(key).c_str()) == 0; }

}  // namespace ursa
