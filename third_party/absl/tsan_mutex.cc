// Debian's Abseil is built without the thread sanitizer, which therefore does not see that absl::Mutex orders anything.
// Under --config=tsan this file defines the members of its synchronization classes anew: each tells the sanitizer what
// happens, and calls the one of the shared library. Await and CondVar::Wait are taken to hold the mutex exclusively.

#include <dlfcn.h>
#include <sanitizer/tsan_interface.h>

#include <cstdio>
#include <cstdlib>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace {

// The shared library's function of this mangled name; a member function takes its object as the first argument.
template <typename Function>
Function Next(const char* symbol) {
  void* found = dlsym(RTLD_NEXT, symbol);
  if (found == nullptr) {  // another version of Abseil than this file is made for
    std::perror(symbol);
    abort();
  }
  return reinterpret_cast<Function>(found);
}

// The library's functions call one another through the symbols that this file defines: only the outermost call on a
// thread is told to the sanitizer.
thread_local int depth = 0;

class Outermost {
 public:
  Outermost() : is_outermost_(depth++ == 0) {}
  ~Outermost() { --depth; }
  bool operator()() const { return is_outermost_; }

 private:
  const bool is_outermost_;
};

// Tells the sanitizer that `mu` is locked within this scope.
class Locking {
 public:
  Locking(absl::Mutex* mu, unsigned flags) : mu_(mu), flags_(flags) {
    if (outermost_()) __tsan_mutex_pre_lock(mu_, flags_);
  }
  ~Locking() {
    if (outermost_()) __tsan_mutex_post_lock(mu_, locked_ ? flags_ : flags_ | __tsan_mutex_try_lock_failed, 0);
  }
  bool Locked(bool locked) { return locked_ = locked; }

 private:
  const Outermost outermost_;
  absl::Mutex* const mu_;
  const unsigned flags_;
  bool locked_ = true;
};

// Tells the sanitizer that `mu` is unlocked within this scope.
class Unlocking {
 public:
  Unlocking(absl::Mutex* mu, unsigned flags) : mu_(mu), flags_(flags) {
    if (outermost_()) __tsan_mutex_pre_unlock(mu_, flags_);
  }
  ~Unlocking() {
    if (outermost_()) __tsan_mutex_post_unlock(mu_, flags_);
  }

 private:
  const Outermost outermost_;
  absl::Mutex* const mu_;
  const unsigned flags_;
};

// Tells the sanitizer that `mu` is given up and taken again within this scope.
class Relocking {
 public:
  explicit Relocking(absl::Mutex* mu) : mu_(mu) {
    if (outermost_()) __tsan_mutex_pre_unlock(mu_, 0);
  }
  ~Relocking() {
    if (!outermost_()) return;
    __tsan_mutex_post_unlock(mu_, 0);
    __tsan_mutex_pre_lock(mu_, 0);
    __tsan_mutex_post_lock(mu_, 0, 0);
  }

 private:
  const Outermost outermost_;
  absl::Mutex* const mu_;
};

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

// The mangled names spell Debian's inline namespace, absl::debian3.
#define URSA_NEXT(type, symbol) static const auto next = Next<type>("_Z" symbol)

void Mutex::Lock() {
  URSA_NEXT(void (*)(Mutex*), "N4absl7debian35Mutex4LockEv");
  Locking locking(this, 0);
  next(this);
}

void Mutex::Unlock() {
  URSA_NEXT(void (*)(Mutex*), "N4absl7debian35Mutex6UnlockEv");
  Unlocking unlocking(this, 0);
  next(this);
}

bool Mutex::TryLock() {
  URSA_NEXT(bool (*)(Mutex*), "N4absl7debian35Mutex7TryLockEv");
  Locking locking(this, __tsan_mutex_try_lock);
  return locking.Locked(next(this));
}

void Mutex::ReaderLock() {
  URSA_NEXT(void (*)(Mutex*), "N4absl7debian35Mutex10ReaderLockEv");
  Locking locking(this, __tsan_mutex_read_lock);
  next(this);
}

void Mutex::ReaderUnlock() {
  URSA_NEXT(void (*)(Mutex*), "N4absl7debian35Mutex12ReaderUnlockEv");
  Unlocking unlocking(this, __tsan_mutex_read_lock);
  next(this);
}

bool Mutex::ReaderTryLock() {
  URSA_NEXT(bool (*)(Mutex*), "N4absl7debian35Mutex13ReaderTryLockEv");
  Locking locking(this, __tsan_mutex_read_lock | __tsan_mutex_try_lock);
  return locking.Locked(next(this));
}

void Mutex::LockWhen(const Condition& cond) {
  URSA_NEXT(void (*)(Mutex*, const Condition&), "N4absl7debian35Mutex8LockWhenERKNS0_9ConditionE");
  Locking locking(this, 0);
  next(this, cond);
}

bool Mutex::LockWhenWithTimeout(const Condition& cond, Duration timeout) {
  URSA_NEXT(bool (*)(Mutex*, const Condition&, Duration),
            "N4absl7debian35Mutex19LockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE");
  Locking locking(this, 0);
  return next(this, cond, timeout);
}

bool Mutex::LockWhenWithDeadline(const Condition& cond, Time deadline) {
  URSA_NEXT(bool (*)(Mutex*, const Condition&, Time),
            "N4absl7debian35Mutex20LockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE");
  Locking locking(this, 0);
  return next(this, cond, deadline);
}

void Mutex::Await(const Condition& cond) {
  URSA_NEXT(void (*)(Mutex*, const Condition&), "N4absl7debian35Mutex5AwaitERKNS0_9ConditionE");
  Relocking relocking(this);
  next(this, cond);
}

bool Mutex::AwaitWithTimeout(const Condition& cond, Duration timeout) {
  URSA_NEXT(bool (*)(Mutex*, const Condition&, Duration),
            "N4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE");
  Relocking relocking(this);
  return next(this, cond, timeout);
}

bool Mutex::AwaitWithDeadline(const Condition& cond, Time deadline) {
  URSA_NEXT(bool (*)(Mutex*, const Condition&, Time),
            "N4absl7debian35Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE");
  Relocking relocking(this);
  return next(this, cond, deadline);
}

void CondVar::Wait(Mutex* mu) {
  URSA_NEXT(void (*)(CondVar*, Mutex*), "N4absl7debian37CondVar4WaitEPNS0_5MutexE");
  Relocking relocking(mu);
  next(this, mu);
}

bool CondVar::WaitWithTimeout(Mutex* mu, Duration timeout) {
  URSA_NEXT(bool (*)(CondVar*, Mutex*, Duration), "N4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE");
  Relocking relocking(mu);
  return next(this, mu, timeout);
}

bool CondVar::WaitWithDeadline(Mutex* mu, Time deadline) {
  URSA_NEXT(bool (*)(CondVar*, Mutex*, Time), "N4absl7debian37CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE");
  Relocking relocking(mu);
  return next(this, mu, deadline);
}

void Notification::Notify() {
  URSA_NEXT(void (*)(Notification*), "N4absl7debian312Notification6NotifyEv");
  __tsan_release(this);
  next(this);
}

void Notification::WaitForNotification() const {
  URSA_NEXT(void (*)(const Notification*), "NK4absl7debian312Notification19WaitForNotificationEv");
  next(this);
  __tsan_acquire(const_cast<Notification*>(this));
}

bool BlockingCounter::DecrementCount() {
  URSA_NEXT(bool (*)(BlockingCounter*), "N4absl7debian315BlockingCounter14DecrementCountEv");
  __tsan_release(this);
  return next(this);
}

void BlockingCounter::Wait() {
  URSA_NEXT(void (*)(BlockingCounter*), "N4absl7debian315BlockingCounter4WaitEv");
  next(this);
  __tsan_acquire(this);
}

#undef URSA_NEXT

ABSL_NAMESPACE_END
}  // namespace absl
