#include "worker/agent/grpc_coordinator_link.h"

#include <fcntl.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <grpcpp/support/client_callback.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <deque>
#include <set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "base/file.h"
#include "base/grpc_status.h"
#include "base/net_address.h"
#include "base/status_macros.h"
#include "ursa/v1/blobs.grpc.pb.h"
#include "ursa/worker/v1/worker.grpc.pb.h"

namespace ursa {
namespace {

using worker::v1::ConnectRequest;
using worker::v1::ConnectResponse;

constexpr size_t kPieceBytes = 1 << 20;

// Two channels and what each call over them carries. Blobs have a TCP connection of their own, made for the first call:
// on a slow link heartbeats must not wait behind what is on its way of a checkpoint.
struct Connection {
  std::shared_ptr<grpc::Channel> channel;
  std::shared_ptr<grpc::Channel> blob_channel;
  std::string authorization;  // empty: none

  void Prepare(grpc::ClientContext* context) const {
    if (!authorization.empty()) context->AddMetadata("authorization", authorization);
  }
};

absl::StatusOr<Connection> OpenConnection(const GrpcCoordinatorLinkOptions& options) {
  URSA_ASSIGN_OR_RETURN(const std::string server, options.address());
  URSA_ASSIGN_OR_RETURN(const ServerAddress address, ParseServerAddress(server));
  Connection connection;
  if (!options.token_file.empty()) {
    URSA_ASSIGN_OR_RETURN(const std::string token, ReadFile(options.token_file));
    connection.authorization = absl::StrCat("Bearer ", absl::StripAsciiWhitespace(token));
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(options.message_bytes_max);
  // Retries are the agent's: a new channel must not wait for what another one learnt, nor share its connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  // A machine's proxy settings are for the outside world.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  if (!address.is_loopback) {
    const auto millis = [](absl::Duration time) { return static_cast<int>(absl::ToInt64Milliseconds(time)); };
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, millis(options.keepalive));
    // The kernel's limit as well (TCP_USER_TIMEOUT): heartbeats go out all the time, so a cut link is seen this soon,
    // and healing finds an agent that connects anew, not one that waits for a retransmission.
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, millis(options.unacknowledged_max));
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, millis(options.connect_timeout));
    arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  }
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (address.tls) {
    grpc::SslCredentialsOptions tls;
    if (!options.ca_file.empty()) {
      URSA_ASSIGN_OR_RETURN(tls.pem_root_certs, ReadTrustedCertificates(options.ca_file));
    }
    credentials = grpc::SslCredentials(tls);
  }
  connection.channel = grpc::CreateCustomChannel(address.target, credentials, arguments);
  connection.blob_channel = grpc::CreateCustomChannel(address.target, credentials, arguments);
  return connection;
}

absl::Status NeverOk(const grpc::Status& status) {
  return status.ok() ? absl::UnavailableError("coordinator: it ended the stream") : FromGrpcStatus(status);
}

class GrpcStream final : public CoordinatorLink::Stream,
                         public grpc::ClientBidiReactor<ConnectRequest, ConnectResponse> {
 public:
  GrpcStream(const absl::StatusOr<Connection>& connection, CoordinatorLink::StreamCallbacks callbacks)
      : callbacks_(std::move(callbacks)) {
    if (!connection.ok()) {
      // What is missing here (the address, the token) is not there yet: the same as a coordinator that is not.
      reading_ended_ = done_ = true;
      callbacks_.on_closed(absl::UnavailableError(std::string(connection.status().message())));
      return;
    }
    channel_ = connection->channel;
    connection->Prepare(&context_);
    stub_ = worker::v1::WorkerService::NewStub(channel_);
    stub_->async()->Connect(&context_, this);
    AddHold();  // for writes that Send() starts; until reading has ended
    StartRead(&response_);
    StartCall();
  }

  ~GrpcStream() override {
    context_.TryCancel();
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(&done_));
  }

  void Send(ConnectRequest message) override {
    absl::MutexLock lock(&mu_);
    if (reading_ended_) return;
    queue_.push_back(std::move(message));
    if (queue_.size() == 1) StartWrite(&queue_.front());
  }

  void Close() override { context_.TryCancel(); }

  void OnReadDone(bool ok) override {
    if (ok) {
      callbacks_.on_message(std::exchange(response_, {}));
      StartRead(&response_);
      return;
    }
    // The server said its last word; what is still to be written goes nowhere. Without such a write nothing is
    // canceled: that could overtake the server's status, and a refused token would look like a broken stream.
    bool is_writing = false;
    {
      absl::MutexLock lock(&mu_);
      reading_ended_ = true;
      is_writing = !queue_.empty();
    }
    if (is_writing) context_.TryCancel();
    RemoveHold();
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mu_);
    queue_.pop_front();
    if (ok && !queue_.empty() && !reading_ended_) StartWrite(&queue_.front());
  }

  void OnDone(const grpc::Status& status) override {
    callbacks_.on_closed(NeverOk(status));
    absl::MutexLock lock(&mu_);
    done_ = true;
  }

 private:
  const CoordinatorLink::StreamCallbacks callbacks_;
  grpc::ClientContext context_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<worker::v1::WorkerService::Stub> stub_;
  ConnectResponse response_;

  absl::Mutex mu_;
  std::deque<ConnectRequest> queue_ ABSL_GUARDED_BY(mu_);  // its front is being written
  bool reading_ended_ ABSL_GUARDED_BY(mu_) = false;
  bool done_ ABSL_GUARDED_BY(mu_) = false;
};

class GrpcCoordinatorLink final : public CoordinatorLink {
 public:
  explicit GrpcCoordinatorLink(GrpcCoordinatorLinkOptions options) : options_(std::move(options)) {}

  std::unique_ptr<Stream> Connect(StreamCallbacks callbacks) override {
    absl::StatusOr<Connection> connection = OpenConnection(options_);
    {
      absl::MutexLock lock(&mu_);
      if (connection.ok()) connection_ = *connection;
    }
    return std::make_unique<GrpcStream>(connection, std::move(callbacks));
  }

  absl::Status Download(const std::string& hash, int64_t offset,
                        const std::function<absl::Status(std::string_view)>& sink) override {
    Call call(this);
    URSA_ASSIGN_OR_RETURN(const auto stub, call.Begin());
    v1::DownloadBlobRequest request;
    request.set_hash(hash);
    request.set_offset(offset);
    const auto reader = stub->DownloadBlob(call.context(), request);
    v1::DownloadBlobResponse piece;
    absl::Status sink_status;
    while (sink_status.ok() && reader->Read(&piece)) sink_status = sink(piece.data());
    if (!sink_status.ok()) call.context()->TryCancel();
    const absl::Status status = call.End(reader->Finish());
    URSA_RETURN_IF_ERROR(sink_status);
    return status;
  }

  absl::StatusOr<std::vector<std::string>> FindMissing(const std::vector<std::string>& hashes) override {
    Call call(this);
    URSA_ASSIGN_OR_RETURN(const auto stub, call.Begin());
    call.SetLimit(options_.short_call_limit);
    v1::FindMissingBlobsRequest request;
    for (const std::string& hash : hashes) request.add_hashes(hash);
    v1::FindMissingBlobsResponse response;
    URSA_RETURN_IF_ERROR(call.End(stub->FindMissingBlobs(call.context(), request, &response)));
    return std::vector<std::string>(response.missing().begin(), response.missing().end());
  }

  absl::Status Upload(const std::string& hash, const std::string& path) override {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return ErrnoStatus(errno, absl::StrCat("blob ", hash, ": cannot open \"", path, "\""));
    const absl::Status status = UploadFile(hash, fd);
    ::close(fd);
    return status;
  }

  void Stop() override {
    absl::MutexLock lock(&mu_);
    stopped_ = true;
    for (grpc::ClientContext* context : contexts_) context->TryCancel();
  }

 private:
  // A blob call, known to the link while it runs so that Stop() can end it.
  class Call {
   public:
    explicit Call(GrpcCoordinatorLink* link) : link_(link) {}
    ~Call() {
      absl::MutexLock lock(&link_->mu_);
      link_->contexts_.erase(&context_);
    }
    absl::StatusOr<std::unique_ptr<v1::BlobService::Stub>> Begin() {
      absl::MutexLock lock(&link_->mu_);
      if (link_->stopped_) return absl::CancelledError("coordinator link: stopped");
      if (link_->connection_.blob_channel == nullptr) return absl::UnavailableError("coordinator: not connected yet");
      link_->contexts_.insert(&context_);
      link_->connection_.Prepare(&context_);
      return v1::BlobService::NewStub(link_->connection_.blob_channel);
    }
    void SetLimit(absl::Duration limit) {
      context_.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(limit));
    }
    grpc::ClientContext* context() { return &context_; }
    // How the call ended. CANCELLED: by Stop().
    absl::Status End(const grpc::Status& status) {
      absl::MutexLock lock(&link_->mu_);
      if (!link_->stopped_ && IsServerGone(status)) return absl::UnavailableError(status.error_message());
      return FromGrpcStatus(status);
    }

   private:
    GrpcCoordinatorLink* link_;
    grpc::ClientContext context_;
  };

  // ALREADY_EXISTS when there is nothing to send.
  absl::StatusOr<int64_t> UploadOffset(const std::string& hash) {
    Call call(this);
    URSA_ASSIGN_OR_RETURN(const auto stub, call.Begin());
    call.SetLimit(options_.short_call_limit);
    v1::GetUploadOffsetRequest request;
    request.set_hash(hash);
    v1::GetUploadOffsetResponse response;
    URSA_RETURN_IF_ERROR(call.End(stub->GetUploadOffset(call.context(), request, &response)));
    return response.offset();
  }

  absl::Status UploadFile(const std::string& hash, int fd) {
    struct stat info;
    if (::fstat(fd, &info) != 0) return ErrnoStatus(errno, absl::StrCat("blob ", hash, ": cannot stat its file"));
    const absl::StatusOr<int64_t> begin = UploadOffset(hash);
    if (absl::IsAlreadyExists(begin.status())) return absl::OkStatus();
    URSA_RETURN_IF_ERROR(begin.status());
    Call call(this);
    URSA_ASSIGN_OR_RETURN(const auto stub, call.Begin());
    v1::UploadBlobsResponse response;
    const auto writer = stub->UploadBlobs(call.context(), &response);
    v1::UploadBlobsRequest piece;
    piece.set_hash(hash);
    piece.set_size(info.st_size);
    absl::Status read_status;
    int64_t offset = *begin;
    do {
      std::string& data = *piece.mutable_data();
      data.resize(kPieceBytes);
      const ssize_t got = ::pread(fd, data.data(), data.size(), offset);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 || (got == 0 && offset < info.st_size)) {
        read_status = got < 0 ? ErrnoStatus(errno, absl::StrCat("blob ", hash, ": cannot read its file"))
                              : absl::DataLossError(absl::StrCat("blob ", hash, ": its file shrank"));
        break;
      }
      data.resize(got);
      piece.set_offset(offset);
      offset += got;
      if (!writer->Write(piece)) break;  // Finish() says why
      piece.Clear();
    } while (offset < info.st_size);
    if (!read_status.ok()) call.context()->TryCancel();
    writer->WritesDone();
    const absl::Status status = call.End(writer->Finish());
    URSA_RETURN_IF_ERROR(read_status);
    return status;
  }

  const GrpcCoordinatorLinkOptions options_;

  absl::Mutex mu_;
  Connection connection_ ABSL_GUARDED_BY(mu_);  // of the newest stream
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  std::set<grpc::ClientContext*> contexts_ ABSL_GUARDED_BY(mu_);  // of blob calls that run
};

}  // namespace

absl::StatusOr<std::string> JoinOnce(const GrpcCoordinatorLinkOptions& options, const std::string& credential_hash) {
  const absl::StatusOr<Connection> connection = OpenConnection(options);
  if (!connection.ok()) return absl::UnavailableError(connection.status().message());
  grpc::ClientContext context;
  connection->Prepare(&context);
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(options.short_call_limit));
  worker::v1::JoinRequest request;
  // Without a request_id: the credential tells who asks again, and a refusal need not hold for ever.
  request.set_credential_hash(credential_hash);
  worker::v1::JoinResponse response;
  const absl::Status status =
      FromGrpcStatus(worker::v1::WorkerService::NewStub(connection->channel)->Join(&context, request, &response));
  if (absl::IsDeadlineExceeded(status)) return absl::UnavailableError(status.message());
  URSA_RETURN_IF_ERROR(status);
  return response.worker_id();
}

std::unique_ptr<CoordinatorLink> NewGrpcCoordinatorLink(GrpcCoordinatorLinkOptions options) {
  return std::make_unique<GrpcCoordinatorLink>(std::move(options));
}

}  // namespace ursa
