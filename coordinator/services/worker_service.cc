#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/core/coordinator.h"
#include "coordinator/services/grpc_call_support.h"
#include "coordinator/services/poller_rest.h"
#include "coordinator/services/services.h"
#include "ursa/worker/v1/worker.grpc.pb.h"

namespace ursa {
namespace {

using worker::v1::ConnectRequest;
using worker::v1::ConnectResponse;

constexpr size_t kQueueMessagesMax = 100'000;

// One agent's stream. The next message is read when the one before has been processed, so an agent that sends too fast
// waits. Owns itself until gRPC is done with it; the coordinator may hold it for longer.
class Stream : public grpc::ServerBidiReactor<ConnectRequest, ConnectResponse>, public WorkerSession {
 public:
  // Whose token it is was found out again (CallerOf): if it is nobody's any more, the stream ends at once.
  static Stream* Start(Coordinator* coordinator, PollerRest* rest, const absl::StatusOr<Caller>& caller) {
    auto stream = std::shared_ptr<Stream>(new Stream(coordinator, rest, caller.ok() ? *caller : Caller{}));
    stream->self_ = stream;
    absl::MutexLock lock(&stream->mu_);
    if (caller.ok()) {
      stream->StartRead(&stream->request_);
    } else {
      stream->CloseLocked(caller.status());
    }
    return stream.get();
  }

  void Send(ConnectResponse message) override {
    absl::MutexLock lock(&mu_);
    if (status_) return;
    if (outgoing_.size() >= kQueueMessagesMax) {
      return CloseLocked(absl::ResourceExhaustedError(
          absl::StrCat("stream: ", outgoing_.size(), " messages wait, the agent does not read them")));
    }
    outgoing_.push_back(std::move(message));
    WriteNext();
  }

  void Close(absl::Status status) override {
    absl::MutexLock lock(&mu_);
    CloseLocked(std::move(status));
  }

  void OnReadDone(bool ok) override {
    if (!ok) return Close(absl::OkStatus());
    const bool is_heartbeat = IsHeartbeat(request_);
    if (!is_heartbeat) rest_.OnOtherWork();
    coordinator_->OnMessage(self_, std::move(request_), [self = self_](absl::Status status) {
      if (!status.ok()) return self->Close(std::move(status));
      absl::MutexLock lock(&self->mu_);
      if (self->status_) return;
      self->request_.Clear();
      self->StartRead(&self->request_);
    });
    if (is_heartbeat) rest_.OnHeartbeat();
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mu_);
    is_writing_ = false;
    outgoing_.pop_front();
    if (!ok && !status_) status_ = absl::CancelledError("stream: broken");
    if (status_) {
      FinishOnce();
    } else {
      WriteNext();
    }
  }

  void OnCancel() override { Close(absl::CancelledError("stream: canceled")); }

  void OnDone() override {
    coordinator_->OnDisconnected(this);
    self_.reset();
  }

 private:
  Stream(Coordinator* coordinator, PollerRest* rest, Caller caller)
      : WorkerSession(std::move(caller)), coordinator_(coordinator), rest_(*rest) {}

  void CloseLocked(absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (status_) return;
    status_ = std::move(status);
    if (!is_writing_) FinishOnce();
  }
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (is_writing_ || outgoing_.empty()) return;
    is_writing_ = true;
    StartWrite(&outgoing_.front());
  }
  void FinishOnce() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (is_finished_) return;
    is_finished_ = true;
    Finish(ToGrpcStatus(*status_));
  }

  Coordinator* const coordinator_;
  PollerRest& rest_;
  std::shared_ptr<Stream> self_;  // until OnDone
  ConnectRequest request_;        // being read, then handed over

  absl::Mutex mu_;
  std::deque<ConnectResponse> outgoing_ ABSL_GUARDED_BY(mu_);  // the first one is being written
  bool is_writing_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<absl::Status> status_ ABSL_GUARDED_BY(mu_);  // with which it ends
  bool is_finished_ ABSL_GUARDED_BY(mu_) = false;
};

class WorkerService : public worker::v1::WorkerService::CallbackService {
 public:
  WorkerService(Coordinator* coordinator, PollerRest* rest) : coordinator_(coordinator), rest_(*rest) {}

  grpc::ServerUnaryReactor* Join(grpc::CallbackServerContext* context, const worker::v1::JoinRequest* request,
                                 worker::v1::JoinResponse* response) override {
    return Changing(coordinator_->env(), context, "WorkerService/Join", request, response,
                    [&](Tx& tx, const Caller& caller) { return coordinator_->admission().Join(tx, caller, *request); });
  }
  grpc::ServerBidiReactor<ConnectRequest, ConnectResponse>* Connect(grpc::CallbackServerContext* context) override {
    return Stream::Start(coordinator_, &rest_, CallerOf(coordinator_->env(), *context));
  }

 private:
  Coordinator* const coordinator_;
  PollerRest& rest_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeWorkerService(Coordinator* coordinator, PollerRest* rest) {
  return std::make_unique<WorkerService>(coordinator, rest);
}

}  // namespace ursa
