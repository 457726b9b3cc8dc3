// TaskServer over gRPC; the header stays free of grpcpp.
#include <fcntl.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>
#include <grpcpp/support/server_callback.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <deque>
#include <optional>
#include <set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/file.h"
#include "base/grpc_status.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "ursa/worker/v1/task.grpc.pb.h"
#include "worker/agent/task_server.h"

namespace ursa {
namespace {

using worker::v1::TaskDirective;
using worker::v1::TaskService;

constexpr int kHashesPerRequestMax = 10'000;

grpc::Status Ended() { return grpc::Status(grpc::StatusCode::CANCELLED, "the task has ended"); }
grpc::Status Unassigned() {
  return grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "the process has not been given a task");
}

// A call that waits for the host's answer, or for the server's end, whichever comes first.
class PendingCall {
 public:
  explicit PendingCall(grpc::ServerUnaryReactor* reactor) : reactor_(reactor) {}

  // `fill` writes the response, if it is not too late for that.
  template <typename Fill>
  void Finish(const absl::Status& status, Fill fill) {
    absl::MutexLock lock(&mu_);
    if (reactor_ == nullptr) return;
    if (status.ok()) fill();
    std::exchange(reactor_, nullptr)->Finish(ToGrpcStatus(status));
  }
  void Cancel() {
    absl::MutexLock lock(&mu_);
    if (reactor_ != nullptr) std::exchange(reactor_, nullptr)->Finish(Ended());
  }
  bool finished() {
    absl::MutexLock lock(&mu_);
    return reactor_ == nullptr;
  }

 private:
  absl::Mutex mu_;
  grpc::ServerUnaryReactor* reactor_ ABSL_GUARDED_BY(mu_);
};

// The calls that wait, so that closing can end them.
class PendingCalls {
 public:
  // Null, with the call finished, when the server is closed.
  std::shared_ptr<PendingCall> Add(grpc::ServerUnaryReactor* reactor) {
    auto call = std::make_shared<PendingCall>(reactor);
    absl::ReleasableMutexLock lock(&mu_);
    if (closed_) {
      lock.Release();
      call->Cancel();
      return nullptr;
    }
    for (auto it = calls_.begin(); it != calls_.end();) it = (*it)->finished() ? calls_.erase(it) : std::next(it);
    calls_.insert(call);
    return call;
  }
  void Close() {
    std::set<std::shared_ptr<PendingCall>> calls;
    {
      absl::MutexLock lock(&mu_);
      closed_ = true;
      calls.swap(calls_);
    }
    for (const auto& call : calls) call->Cancel();
  }

 private:
  absl::Mutex mu_;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  std::set<std::shared_ptr<PendingCall>> calls_ ABSL_GUARDED_BY(mu_);
};

class PutBlobReactor final : public grpc::ServerReadReactor<worker::v1::PutBlobRequest> {
 public:
  PutBlobReactor(TaskHost* host, const std::optional<ProcessKey>& key, worker::v1::PutBlobResponse* response)
      : host_(host), key_(key.value_or(ProcessKey())), response_(response) {
    if (!key) {
      Finish(Unassigned());
      return;
    }
    absl::StatusOr<std::unique_ptr<BlobCache::Writer>> writer = host_->NewBlob(key_);
    if (!writer.ok()) {
      Finish(ToGrpcStatus(writer.status()));
      return;
    }
    writer_ = *std::move(writer);
    StartRead(&piece_);
  }

  void OnReadDone(bool ok) override {
    if (ok) {
      const absl::Status status = writer_->Write(piece_.data());
      if (!status.ok()) return Finish(ToGrpcStatus(status));
      StartRead(&piece_);
      return;
    }
    // The task has sent all, or has broken off.
    if (cancelled_) return Finish(Ended());
    const absl::StatusOr<std::string> hash = host_->CommitBlob(key_, writer_.get());
    if (hash.ok()) {
      response_->set_hash(*hash);
      response_->set_size(writer_->size_bytes());
    }
    Finish(ToGrpcStatus(hash.status()));
  }

  void OnCancel() override { cancelled_ = true; }
  void OnDone() override { delete this; }

 private:
  TaskHost* const host_;
  const ProcessKey key_;
  worker::v1::PutBlobResponse* const response_;
  std::unique_ptr<BlobCache::Writer> writer_;
  worker::v1::PutBlobRequest piece_;
  std::atomic<bool> cancelled_{false};
};

// One stream of directives. `next` is asked for a directive whenever the last one was written; OnDone tells the owner.
class DirectiveReactor final : public grpc::ServerWriteReactor<TaskDirective> {
 public:
  explicit DirectiveReactor(std::function<void(DirectiveReactor*)> on_done) : on_done_(std::move(on_done)) {}

  void Push(TaskDirective directive) {
    absl::MutexLock lock(&mu_);
    queue_bytes_ += directive.ByteSizeLong();
    queue_.push_back(std::move(directive));
    if (queue_.size() == 1 && !ended_) StartWrite(&queue_.front());
  }
  size_t queue_bytes() {
    absl::MutexLock lock(&mu_);
    return queue_bytes_;
  }
  // Ends the stream, unless it has ended.
  void End() {
    absl::MutexLock lock(&mu_);
    EndLocked();
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mu_);
    queue_bytes_ -= queue_.front().ByteSizeLong();
    queue_.pop_front();
    if (!ok) {
      EndLocked();
    } else if (!queue_.empty() && !ended_) {
      StartWrite(&queue_.front());
    }
  }
  void OnCancel() override { End(); }
  void OnDone() override {
    on_done_(this);
    delete this;
  }

 private:
  void EndLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (!std::exchange(ended_, true)) Finish(Ended());
  }

  const std::function<void(DirectiveReactor*)> on_done_;
  absl::Mutex mu_;
  std::deque<TaskDirective> queue_ ABSL_GUARDED_BY(mu_);  // its front is being written
  size_t queue_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
};

class Service final : public TaskService::CallbackService {
 public:
  Service(TaskHost* host, const TaskServer::Options& options, std::function<void()> on_wait)
      : host_(host), options_(options), on_wait_(std::move(on_wait)) {}

  grpc::ServerUnaryReactor* GetAssignment(grpc::CallbackServerContext* context, const worker::v1::GetAssignmentRequest*,
                                          worker::v1::TaskAssignment* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    {
      absl::MutexLock lock(&mu_);
      was_asked_ = true;
      if (assigned_) {
        *response = assigned_->assignment;
        reactor->Finish(grpc::Status::OK);
        return reactor;
      }
      if (waiter_.call != nullptr) {
        reactor->Finish(grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "the process waits for a task already"));
        return reactor;
      }
      waiter_ = {calls_.Add(reactor), response};
      if (waiter_.call == nullptr) return reactor;  // closed
    }
    if (on_wait_) on_wait_();
    return reactor;
  }

  void Assign(const ProcessKey& key, const worker::v1::TaskAssignment& assignment) {
    absl::MutexLock lock(&mu_);
    URSA_CHECK(!assigned_) << "assigned twice: " << key.ToString();
    assigned_ = {key, assignment};
    if (waiter_.call != nullptr)
      waiter_.call->Finish(absl::OkStatus(), [this] { *waiter_.response = assigned_->assignment; });
    waiter_ = {};
  }

  bool WasAsked() {
    absl::MutexLock lock(&mu_);
    return was_asked_;
  }

  grpc::ServerUnaryReactor* FetchBlobs(grpc::CallbackServerContext* context,
                                       const worker::v1::FetchBlobsRequest* request,
                                       worker::v1::FetchBlobsResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    const std::optional<ProcessKey> key = KeyOrRefuse(reactor);
    if (!key) return reactor;
    if (request->hashes_size() > kHashesPerRequestMax) {
      reactor->Finish(ToGrpcStatus(absl::InvalidArgumentError(
          absl::StrCat("fetch: ", request->hashes_size(), " hashes, the limit is ", kHashesPerRequestMax))));
      return reactor;
    }
    if (const auto call = calls_.Add(reactor)) {
      host_->FetchBlobs(*key, {request->hashes().begin(), request->hashes().end()},
                        [call, response](absl::StatusOr<std::vector<std::string>> paths) {
                          call->Finish(paths.status(), [&] {
                            for (std::string& path : *paths) response->add_paths(std::move(path));
                          });
                        });
    }
    return reactor;
  }

  grpc::ServerReadReactor<worker::v1::PutBlobRequest>* PutBlob(grpc::CallbackServerContext*,
                                                               worker::v1::PutBlobResponse* response) override {
    return new PutBlobReactor(host_, Key(), response);
  }

  grpc::ServerUnaryReactor* ReportEvents(grpc::CallbackServerContext* context,
                                         const worker::v1::ReportEventsRequest* request,
                                         worker::v1::ReportEventsResponse*) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    const std::optional<ProcessKey> key = KeyOrRefuse(reactor);
    if (!key) return reactor;
    if (const auto call = calls_.Add(reactor)) {
      host_->ReportEvents(*key, {request->events().begin(), request->events().end()},
                          [call](const absl::Status& status) { call->Finish(status, [] {}); });
    }
    return reactor;
  }

  grpc::ServerUnaryReactor* ReportPosition(grpc::CallbackServerContext* context,
                                           const worker::v1::ReportPositionRequest* request,
                                           worker::v1::ReportPositionResponse*) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    const std::optional<ProcessKey> key = KeyOrRefuse(reactor);
    if (!key) return reactor;
    host_->ReportPosition(*key, request->position());
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  grpc::ServerUnaryReactor* Store(grpc::CallbackServerContext* context, const worker::v1::StoreRequest* request,
                                  worker::v1::StoreResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    const std::optional<ProcessKey> key = KeyOrRefuse(reactor);
    if (!key) return reactor;
    if (const auto call = calls_.Add(reactor)) {
      host_->Rendezvous(*key, *request, [call, response](absl::StatusOr<worker::v1::StoreResponse> answer) {
        call->Finish(answer.status(), [&] { *response = *std::move(answer); });
      });
    }
    return reactor;
  }

  grpc::ServerWriteReactor<TaskDirective>* WatchDirectives(grpc::CallbackServerContext*,
                                                           const worker::v1::WatchDirectivesRequest*) override {
    auto* reactor = new DirectiveReactor([this](DirectiveReactor* done) {
      absl::MutexLock lock(&mu_);
      if (watcher_ == done) watcher_ = nullptr;
    });
    absl::MutexLock lock(&mu_);
    if (closed_ || watcher_ != nullptr) {
      reactor->End();
      return reactor;
    }
    watcher_ = reactor;
    for (TaskDirective& directive : waiting_) reactor->Push(std::move(directive));
    waiting_.clear();
    waiting_bytes_ = 0;
    return reactor;
  }

  absl::Status Tell(TaskDirective directive) {
    absl::MutexLock lock(&mu_);
    const size_t queued = watcher_ == nullptr ? waiting_bytes_ : watcher_->queue_bytes();
    const size_t bytes = directive.ByteSizeLong();
    if (queued > 0 && queued + bytes > options_.directives_bytes_max)
      return absl::ResourceExhaustedError(absl::StrCat("task ", assigned_ ? assigned_->key.task_id : "", ": ",
                                                       queued + bytes, " bytes of directives wait, the limit is ",
                                                       options_.directives_bytes_max));
    if (watcher_ != nullptr) {
      watcher_->Push(std::move(directive));
    } else {
      waiting_bytes_ += bytes;
      waiting_.push_back(std::move(directive));
    }
    return absl::OkStatus();
  }

  void Close() {
    {
      absl::MutexLock lock(&mu_);
      closed_ = true;
      if (watcher_ != nullptr) watcher_->End();
    }
    calls_.Close();
  }

 private:
  struct Assigned {
    ProcessKey key;
    worker::v1::TaskAssignment assignment;
  };
  // The call that waits for an assignment.
  struct Waiter {
    std::shared_ptr<PendingCall> call;
    worker::v1::TaskAssignment* response = nullptr;
  };

  std::optional<ProcessKey> Key() {
    absl::MutexLock lock(&mu_);
    return assigned_ ? std::optional<ProcessKey>(assigned_->key) : std::nullopt;
  }
  // Nothing, with the call finished, while the process has no task.
  std::optional<ProcessKey> KeyOrRefuse(grpc::ServerUnaryReactor* reactor) {
    std::optional<ProcessKey> key = Key();
    if (!key) reactor->Finish(Unassigned());
    return key;
  }

  TaskHost* const host_;
  const TaskServer::Options options_;
  const std::function<void()> on_wait_;
  PendingCalls calls_;

  absl::Mutex mu_;  // before a DirectiveReactor's and a PendingCall's
  std::optional<Assigned> assigned_ ABSL_GUARDED_BY(mu_);
  Waiter waiter_ ABSL_GUARDED_BY(mu_);
  bool was_asked_ ABSL_GUARDED_BY(mu_) = false;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  DirectiveReactor* watcher_ ABSL_GUARDED_BY(mu_) = nullptr;  // owned by gRPC, until its OnDone
  std::vector<TaskDirective> waiting_ ABSL_GUARDED_BY(mu_);   // told before the task listened
  size_t waiting_bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

class GrpcTaskServer final : public TaskServer {
 public:
  GrpcTaskServer(TaskHost* host, const Options& options, std::function<void()> on_wait)
      : service_(host, options, std::move(on_wait)) {
    grpc::ServerBuilder builder;
    builder.SetMaxReceiveMessageSize(options.message_bytes_max);
    builder.SetMaxSendMessageSize(options.message_bytes_max);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
  }

  ~GrpcTaskServer() override {
    service_.Close();
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
  }

  absl::Status Serve(int fd) {
    if (server_ == nullptr) {
      ::close(fd);
      return absl::InternalError("task server: gRPC does not start");
    }
    grpc::AddInsecureChannelFromFd(server_.get(), fd);
    return absl::OkStatus();
  }

  void Assign(const ProcessKey& key, const worker::v1::TaskAssignment& assignment) override {
    service_.Assign(key, assignment);
  }

  bool WasAsked() override { return service_.WasAsked(); }

  absl::Status Tell(TaskDirective directive) override { return service_.Tell(std::move(directive)); }

 private:
  Service service_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TaskServer>> TaskServer::Start(TaskHost* host, int fd, const Options& options,
                                                              std::function<void()> on_wait) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
    const int error_number = errno;
    ::close(fd);
    return ErrnoStatus(error_number, "task server: cannot set the socket's flags");
  }
  auto server = std::make_unique<GrpcTaskServer>(host, options, std::move(on_wait));
  URSA_RETURN_IF_ERROR(server->Serve(fd));
  return server;
}

}  // namespace ursa
