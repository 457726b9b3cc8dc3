// AgentClient over gRPC; the header stays free of grpcpp.
#include <fcntl.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/support/channel_arguments.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/file.h"
#include "base/grpc_status.h"
#include "base/status_macros.h"
#include "ursa/worker/v1/task.grpc.pb.h"
#include "worker/agent_client/agent_client.h"

namespace ursa {
namespace {

using worker::v1::TaskEvent;
using worker::v1::TaskService;

constexpr int kHashesPerRequestMax = 10'000;
constexpr size_t kPieceBytesMax = 1 << 20;
constexpr size_t kEventBytesMax = 3 << 20;
constexpr size_t kReportBytesAim = 3 << 20;  // requests of many events are split at about this size
constexpr int kMessageBytesMax = 64 << 20;   // pictures to classify come in one message

class GrpcAgentClient final : public AgentClient {
 public:
  explicit GrpcAgentClient(std::shared_ptr<grpc::Channel> channel) : stub_(TaskService::NewStub(channel)) {}

  ~GrpcAgentClient() override {
    {
      absl::MutexLock lock(&mu_);
      closing_ = true;
      for (grpc::ClientContext* context : contexts_) context->TryCancel();
    }
    StopWatching();
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(
        +[](std::set<grpc::ClientContext*>* contexts) { return contexts->empty(); }, &contexts_));
  }

  absl::StatusOr<worker::v1::TaskAssignment> GetAssignment() override {
    worker::v1::TaskAssignment assignment;
    Call call(this);
    URSA_RETURN_IF_ERROR(
        FromGrpcStatus(stub_->GetAssignment(call.context(), worker::v1::GetAssignmentRequest(), &assignment)));
    return assignment;
  }

  absl::StatusOr<std::vector<std::string>> FetchBlobs(const std::vector<std::string>& hashes) override {
    std::vector<std::string> paths;
    paths.reserve(hashes.size());
    for (size_t first = 0; first < hashes.size(); first += kHashesPerRequestMax) {
      const size_t end = std::min(hashes.size(), first + kHashesPerRequestMax);
      worker::v1::FetchBlobsRequest request;
      for (size_t i = first; i < end; ++i) request.add_hashes(hashes[i]);
      worker::v1::FetchBlobsResponse response;
      Call call(this);
      URSA_RETURN_IF_ERROR(FromGrpcStatus(stub_->FetchBlobs(call.context(), request, &response)));
      if (response.paths_size() != request.hashes_size())
        return absl::InternalError(
            absl::StrCat("agent: asked for ", request.hashes_size(), " blobs, got ", response.paths_size(), " paths"));
      for (std::string& path : *response.mutable_paths()) paths.push_back(std::move(path));
    }
    return paths;
  }

  absl::StatusOr<StoredBlob> PutBytes(std::string_view bytes) override {
    return Put([&bytes](std::string* piece) -> absl::Status {
      const size_t size = std::min(bytes.size(), kPieceBytesMax);
      piece->assign(bytes.substr(0, size));
      bytes.remove_prefix(size);
      return absl::OkStatus();
    });
  }

  absl::StatusOr<StoredBlob> PutFile(const std::string& path) override {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return ErrnoStatus(errno, absl::StrCat("file \"", path, "\": cannot open"));
    absl::StatusOr<StoredBlob> stored = Put([fd, &path](std::string* piece) -> absl::Status {
      piece->resize(kPieceBytesMax);
      ssize_t got;
      do {
        got = ::read(fd, piece->data(), piece->size());
      } while (got < 0 && errno == EINTR);
      if (got < 0) return ErrnoStatus(errno, absl::StrCat("file \"", path, "\": cannot read"));
      piece->resize(got);
      return absl::OkStatus();
    });
    ::close(fd);
    return stored;
  }

  absl::Status Report(std::vector<TaskEvent> events) override {
    worker::v1::ReportEventsRequest request;
    size_t request_bytes = 0;
    for (TaskEvent& event : events) {
      const size_t event_bytes = event.ByteSizeLong();
      if (event_bytes > kEventBytesMax)
        return absl::InvalidArgumentError(
            absl::StrCat("event: ", event_bytes, " bytes, the limit is ", kEventBytesMax));
      if (request_bytes > 0 && request_bytes + event_bytes > kReportBytesAim) {
        URSA_RETURN_IF_ERROR(SendEvents(request));
        request.Clear();
        request_bytes = 0;
      }
      request_bytes += event_bytes;
      *request.add_events() = std::move(event);
    }
    return request.events_size() == 0 ? absl::OkStatus() : SendEvents(request);
  }

  absl::Status ReportPosition(const worker::v1::RankPosition& position) override {
    worker::v1::ReportPositionRequest request;
    *request.mutable_position() = position;
    worker::v1::ReportPositionResponse response;
    Call call(this);
    return FromGrpcStatus(stub_->ReportPosition(call.context(), request, &response));
  }

  absl::StatusOr<worker::v1::StoreResponse> Rendezvous(const worker::v1::StoreRequest& request) override {
    worker::v1::StoreResponse response;
    Call call(this);
    URSA_RETURN_IF_ERROR(FromGrpcStatus(stub_->Store(call.context(), request, &response)));
    return response;
  }

  void WatchDirectives(DirectiveCallbacks callbacks) override {
    absl::MutexLock lock(&mu_);
    if (closing_ || watch_stopped_ || watcher_.joinable()) return;
    watcher_ = std::thread([this, callbacks = std::move(callbacks)] { Watch(callbacks); });
  }

  void StopWatching() override {
    std::thread watcher;
    {
      absl::MutexLock lock(&mu_);
      watch_stopped_ = true;
      if (watch_context_ != nullptr) watch_context_->TryCancel();
      watcher = std::move(watcher_);
    }
    if (watcher.joinable()) watcher.join();
  }

 private:
  // The context of one call, known to the client while the call runs so that the destructor can cancel it.
  class Call {
   public:
    explicit Call(GrpcAgentClient* client) : client_(client) {
      absl::MutexLock lock(&client_->mu_);
      client_->contexts_.insert(&context_);
      if (client_->closing_) context_.TryCancel();
    }
    ~Call() {
      absl::MutexLock lock(&client_->mu_);
      client_->contexts_.erase(&context_);
    }
    grpc::ClientContext* context() { return &context_; }

   private:
    GrpcAgentClient* client_;
    grpc::ClientContext context_;
  };

  // `next` gives the next piece, an empty one at the end.
  template <typename NextPiece>
  absl::StatusOr<StoredBlob> Put(NextPiece next) {
    Call call(this);
    worker::v1::PutBlobResponse response;
    const auto writer = stub_->PutBlob(call.context(), &response);
    worker::v1::PutBlobRequest piece;
    absl::Status read_status;
    for (;;) {
      read_status = next(piece.mutable_data());
      if (!read_status.ok() || piece.data().empty()) break;
      if (!writer->Write(piece)) break;  // the status below says why
    }
    if (!read_status.ok()) call.context()->TryCancel();
    writer->WritesDone();
    const absl::Status status = FromGrpcStatus(writer->Finish());
    URSA_RETURN_IF_ERROR(read_status);
    URSA_RETURN_IF_ERROR(status);
    return StoredBlob{response.hash(), response.size()};
  }

  absl::Status SendEvents(const worker::v1::ReportEventsRequest& request) {
    worker::v1::ReportEventsResponse response;
    Call call(this);
    return FromGrpcStatus(stub_->ReportEvents(call.context(), request, &response));
  }

  void Watch(const DirectiveCallbacks& callbacks) {
    grpc::ClientContext context;
    {
      absl::MutexLock lock(&mu_);
      if (watch_stopped_) return;
      watch_context_ = &context;
    }
    const auto reader = stub_->WatchDirectives(&context, worker::v1::WatchDirectivesRequest());
    worker::v1::TaskDirective directive;
    while (reader->Read(&directive)) {
      if (WatchStopped()) continue;
      if (directive.has_stop()) {
        if (callbacks.on_stop) callbacks.on_stop(directive.stop());
      } else if (directive.has_reform()) {
        if (callbacks.on_reform) callbacks.on_reform(directive.reform());
      } else if (directive.has_predict()) {
        if (callbacks.on_predict) callbacks.on_predict(std::move(*directive.mutable_predict()));
      }
    }
    const grpc::Status status = reader->Finish();
    bool stopped;
    {
      absl::MutexLock lock(&mu_);
      watch_context_ = nullptr;
      stopped = watch_stopped_;
    }
    if (!stopped && callbacks.on_lost)
      callbacks.on_lost(status.ok() ? absl::UnavailableError("agent: it closed the stream of directives")
                                    : FromGrpcStatus(status));
  }

  bool WatchStopped() {
    absl::MutexLock lock(&mu_);
    return watch_stopped_;
  }

  const std::unique_ptr<TaskService::Stub> stub_;

  absl::Mutex mu_;
  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  std::set<grpc::ClientContext*> contexts_ ABSL_GUARDED_BY(mu_);  // of calls that run
  bool watch_stopped_ ABSL_GUARDED_BY(mu_) = false;
  grpc::ClientContext* watch_context_ ABSL_GUARDED_BY(mu_) = nullptr;
  std::thread watcher_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<AgentClient>> AgentClient::Connect(int fd) {
  int type = 0;
  socklen_t length = sizeof(type);
  if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) != 0 || type != SOCK_STREAM)
    return absl::InvalidArgumentError(absl::StrCat("descriptor ", fd, ": not a connected stream socket"));
  // gRPC wants a socket that does not block; the next program that this process starts must not inherit it.
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || ::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
    return ErrnoStatus(errno, absl::StrCat("descriptor ", fd, ": cannot set its flags"));
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  arguments.SetMaxSendMessageSize(kMessageBytesMax);
  return std::make_unique<GrpcAgentClient>(grpc::CreateCustomInsecureChannelFromFd("agent", fd, arguments));
}

}  // namespace ursa
