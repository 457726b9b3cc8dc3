// A stream of answers that is pulled: what comes next is asked for whenever the last answer has been sent and whenever
// something has changed.
#ifndef URSA_COORDINATOR_SERVICES_GRPC_PULL_STREAM_H_
#define URSA_COORDINATOR_SERVICES_GRPC_PULL_STREAM_H_

#include <grpcpp/support/server_callback.h>

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "base/grpc_status.h"

namespace ursa {

//   idle --Signal--> pulling --an answer--> writing --written--> pulling
//     ^--------nothing---'  `--the end--> finished
//
// At most one pull or write is under way; a Signal meanwhile makes it pull once more. Owns itself until gRPC is done
// with it; whoever calls Signal later may hold it for longer. Thread-safe.
template <typename Response>
class PullStream : public grpc::ServerWriteReactor<Response> {
 public:
  struct Pulled {
    std::optional<Response> answer;   // to be sent
    std::optional<absl::Status> end;  // then the stream ends; neither: nothing until the next Signal
  };
  // Finds out what comes next, and says so once, on any thread.
  using Pull = std::function<void(std::function<void(Pulled)> pulled)>;

  // `on_done` is called once when gRPC is done with the stream.
  static std::shared_ptr<PullStream> Make(Pull pull, std::function<void()> on_done) {
    auto stream = std::shared_ptr<PullStream>(new PullStream(std::move(pull), std::move(on_done)));
    stream->self_ = stream;
    return stream;
  }

  void SetOnDone(std::function<void()> on_done) { on_done_ = std::move(on_done); }

  // There may be something new.
  void Signal() {
    {
      absl::MutexLock lock(&mu_);
      if (is_finished_) return;
      if (is_busy_) {
        must_pull_again_ = true;
        return;
      }
      is_busy_ = true;
    }
    PullNext();
  }

  void OnWriteDone(bool ok) override {
    if (!ok) {
      absl::MutexLock lock(&mu_);
      return FinishOnce(absl::CancelledError("stream: broken"));
    }
    PullNext();
  }

  void OnCancel() override {
    absl::MutexLock lock(&mu_);
    is_canceled_ = true;
    if (!is_busy_) FinishOnce(absl::CancelledError("stream: canceled"));
  }

  void OnDone() override {
    if (on_done_) on_done_();
    pull_ = nullptr;
    self_.reset();
  }

 private:
  PullStream(Pull pull, std::function<void()> on_done) : pull_(std::move(pull)), on_done_(std::move(on_done)) {}

  void PullNext() {
    {
      absl::MutexLock lock(&mu_);
      must_pull_again_ = false;
      if (is_canceled_) return FinishOnce(absl::CancelledError("stream: canceled"));
    }
    pull_([self = self_](Pulled pulled) { self->OnPulled(std::move(pulled)); });
  }

  void OnPulled(Pulled pulled) {
    {
      absl::MutexLock lock(&mu_);
      if (is_canceled_) return FinishOnce(absl::CancelledError("stream: canceled"));
      if (pulled.answer) {
        response_ = *std::move(pulled.answer);
        this->StartWrite(&response_);
        return;
      }
      if (pulled.end) return FinishOnce(*pulled.end);
      if (!must_pull_again_) {
        is_busy_ = false;
        return;
      }
    }
    PullNext();
  }

  void FinishOnce(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (is_finished_) return;
    is_finished_ = true;
    this->Finish(ToGrpcStatus(status));
  }

  Pull pull_;
  std::function<void()> on_done_;
  std::shared_ptr<PullStream> self_;  // until OnDone
  Response response_;

  absl::Mutex mu_;
  bool is_busy_ ABSL_GUARDED_BY(mu_) = false;
  bool must_pull_again_ ABSL_GUARDED_BY(mu_) = false;
  bool is_canceled_ ABSL_GUARDED_BY(mu_) = false;
  bool is_finished_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_SERVICES_GRPC_PULL_STREAM_H_
