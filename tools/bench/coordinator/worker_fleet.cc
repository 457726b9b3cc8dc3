#include "tools/bench/coordinator/worker_fleet.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "base/digest.h"
#include "tools/bench/coordinator/load.h"
#include "ursa/worker/v1/worker.grpc.pb.h"

namespace ursa {
namespace {

using worker::v1::ConnectRequest;
using worker::v1::ConnectResponse;

}  // namespace

struct WorkerFleet::Shared {
  std::vector<std::unique_ptr<worker::v1::WorkerService::Stub>> stubs;
  std::atomic<int> num_welcome{0};
  std::atomic<int> num_ended{0};
  std::atomic<bool> is_ending{false};
  std::atomic<int> num_broken{0};
  std::atomic<int64_t> num_heartbeats{0};
};

class WorkerFleet::Stream : public grpc::ClientBidiReactor<ConnectRequest, ConnectResponse> {
 public:
  Stream(const Options& options, Shared* shared, int number) : shared_(*shared) {
    context_.AddMetadata("authorization", "Bearer " + options.token);
    auto* hello = request_.mutable_hello();
    hello->set_host(absl::StrCat("host", number));
    hello->set_slots(options.slots);
    hello->set_kind("cpu");
    hello->set_cores(options.slots);
    hello->set_simd("avx2");
    hello->set_incarnation(RandomHex(8));
    shared_.stubs[static_cast<size_t>(number) % shared_.stubs.size()]->async()->Connect(&context_, this);
    is_writing_ = true;
    StartWrite(&request_);
    StartRead(&response_);
    StartCall();
  }

  // Sends a heartbeat unless the last message is still under way.
  void Beat() {
    {
      absl::MutexLock lock(&mu_);
      if (is_writing_ || is_closed_) return;
      is_writing_ = true;
    }
    request_.Clear();  // nothing runs
    ++shared_.num_heartbeats;
    StartWrite(&request_);
  }

  void Cancel() { context_.TryCancel(); }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mu_);
    is_writing_ = false;
    if (!ok) is_closed_ = true;
  }
  void OnReadDone(bool ok) override {
    if (!ok) {
      absl::MutexLock lock(&mu_);
      is_closed_ = true;
      return;
    }
    if (response_.has_welcome()) ++shared_.num_welcome;
    StartRead(&response_);
  }
  void OnDone(const grpc::Status&) override {
    if (!shared_.is_ending) ++shared_.num_broken;
    ++shared_.num_ended;
  }

 private:
  Shared& shared_;
  grpc::ClientContext context_;
  ConnectRequest request_;
  ConnectResponse response_;
  absl::Mutex mu_;
  bool is_writing_ ABSL_GUARDED_BY(mu_) = false;
  bool is_closed_ ABSL_GUARDED_BY(mu_) = false;
};

WorkerFleet::WorkerFleet(const Options& options) : options_(options), shared_(std::make_unique<Shared>()) {
  for (const auto& channel : MakeChannels(options.address, options.num_channels)) {
    shared_->stubs.push_back(worker::v1::WorkerService::NewStub(channel));
  }
  for (int i = 0; i < options.num_workers; ++i) {
    streams_.push_back(std::make_unique<Stream>(options_, shared_.get(), i));
  }
  beater_ = std::thread([this] { Beat(); });
}

WorkerFleet::~WorkerFleet() {
  shared_->is_ending = true;
  beater_.join();
  for (const auto& stream : streams_) stream->Cancel();
  while (shared_->num_ended < options_.num_workers) absl::SleepFor(absl::Milliseconds(10));
}

void WorkerFleet::Beat() {
  constexpr int kSlices = 100;  // of an interval
  const size_t count = streams_.size();
  absl::Time due = absl::Now();
  for (int slice = 0; !shared_->is_ending; slice = (slice + 1) % kSlices) {
    for (size_t i = count * static_cast<size_t>(slice) / kSlices; i < count * static_cast<size_t>(slice + 1) / kSlices;
         ++i) {
      streams_[i]->Beat();
    }
    due += options_.interval / kSlices;
    absl::SleepFor(due - absl::Now());
  }
}

bool WorkerFleet::WaitUntilWelcome(absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  while (shared_->num_welcome < options_.num_workers) {
    if (absl::Now() > deadline || shared_->num_broken > 0) return false;
    absl::SleepFor(absl::Milliseconds(10));
  }
  return true;
}

int WorkerFleet::num_broken() const { return shared_->num_broken; }
int64_t WorkerFleet::num_heartbeats() const { return shared_->num_heartbeats; }

}  // namespace ursa
