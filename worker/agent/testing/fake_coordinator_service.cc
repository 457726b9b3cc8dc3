#include "worker/agent/testing/fake_coordinator_service.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/support/server_callback.h>

#include <chrono>
#include <deque>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/grpc_status.h"
#include "base/log.h"
#include "ursa/v1/blobs.grpc.pb.h"
#include "ursa/worker/v1/worker.grpc.pb.h"

namespace ursa {
namespace {

using worker::v1::ConnectRequest;
using worker::v1::ConnectResponse;

// Looks at each call. Thread-safe.
class Gate {
 public:
  explicit Gate(const std::string& token) : authorization_(absl::StrCat("Bearer ", token)) {}

  template <typename Context>
  bool Admits(const Context& context) {
    absl::MutexLock lock(&mu_);
    peers_.insert(context.peer());
    const auto it = context.client_metadata().find("authorization");
    return it != context.client_metadata().end() && it->second == authorization_.c_str();
  }
  size_t num_peers() const {
    absl::MutexLock lock(&mu_);
    return peers_.size();
  }

 private:
  const std::string authorization_;
  mutable absl::Mutex mu_;
  std::set<std::string> peers_ ABSL_GUARDED_BY(mu_);
};

grpc::Status Unauthenticated() { return grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "token: not known"); }

class StreamReactor final : public grpc::ServerBidiReactor<ConnectRequest, ConnectResponse> {
 public:
  StreamReactor(FakeCoordinator* coordinator, bool authorized) : coordinator_(coordinator) {
    if (!authorized) {
      End(Unauthenticated());
      return;
    }
    id_ = coordinator_->Attach({[this](ConnectResponse message) { Send(std::move(message)); },
                                [this](const absl::Status& status) { End(ToGrpcStatus(status)); }});
    if (id_ != 0) StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      coordinator_->Detach(id_);
      return End(grpc::Status::OK);
    }
    coordinator_->OnRequest(id_, request_);
    request_.Clear();
    StartRead(&request_);
  }
  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mu_);
    queue_.pop_front();
    if (ok && !queue_.empty() && !ended_) StartWrite(&queue_.front());
  }
  void OnCancel() override {
    coordinator_->Detach(id_);
    End(grpc::Status::CANCELLED);
  }
  void OnDone() override {
    coordinator_->Detach(id_);
    delete this;
  }

 private:
  void Send(ConnectResponse message) {
    absl::MutexLock lock(&mu_);
    queue_.push_back(std::move(message));
    if (queue_.size() == 1 && !ended_) StartWrite(&queue_.front());
  }
  void End(const grpc::Status& status) {
    absl::MutexLock lock(&mu_);
    if (!std::exchange(ended_, true)) Finish(status);
  }

  FakeCoordinator* const coordinator_;
  int64_t id_ = 0;
  ConnectRequest request_;
  absl::Mutex mu_;
  std::deque<ConnectResponse> queue_ ABSL_GUARDED_BY(mu_);
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
};

class WorkerServiceImpl final : public worker::v1::WorkerService::CallbackService {
 public:
  WorkerServiceImpl(FakeCoordinator* coordinator, Gate* gate) : coordinator_(coordinator), gate_(gate) {}
  grpc::ServerBidiReactor<ConnectRequest, ConnectResponse>* Connect(grpc::CallbackServerContext* context) override {
    return new StreamReactor(coordinator_, gate_->Admits(*context));
  }

 private:
  FakeCoordinator* const coordinator_;
  Gate* const gate_;
};

class BlobServiceImpl final : public v1::BlobService::Service {
 public:
  BlobServiceImpl(FakeCoordinator* coordinator, Gate* gate) : coordinator_(coordinator), gate_(gate) {}

  grpc::Status FindMissingBlobs(grpc::ServerContext* context, const v1::FindMissingBlobsRequest* request,
                                v1::FindMissingBlobsResponse* response) override {
    if (!gate_->Admits(*context)) return Unauthenticated();
    const auto missing = coordinator_->FindMissing({request->hashes().begin(), request->hashes().end()});
    if (!missing.ok()) return ToGrpcStatus(missing.status());
    for (const std::string& hash : *missing) response->add_missing(hash);
    return grpc::Status::OK;
  }

  grpc::Status GetUploadOffset(grpc::ServerContext* context, const v1::GetUploadOffsetRequest* request,
                               v1::GetUploadOffsetResponse* response) override {
    if (!gate_->Admits(*context)) return Unauthenticated();
    const auto offset = coordinator_->UploadOffset(request->hash());
    if (offset.ok()) response->set_offset(*offset);
    return ToGrpcStatus(offset.status());
  }

  grpc::Status UploadBlobs(grpc::ServerContext* context, grpc::ServerReader<v1::UploadBlobsRequest>* reader,
                           v1::UploadBlobsResponse* response) override {
    if (!gate_->Admits(*context)) return Unauthenticated();
    v1::UploadBlobsRequest piece;
    std::string hash;
    int64_t size = 0;
    while (reader->Read(&piece)) {
      if (!piece.hash().empty()) {
        hash = piece.hash();
        size = piece.size();
        response->set_num_blobs(response->num_blobs() + 1);
      }
      const absl::Status status = coordinator_->Upload(hash, size, piece.offset(), piece.data());
      if (!status.ok()) return ToGrpcStatus(status);
    }
    return grpc::Status::OK;
  }

  grpc::Status DownloadBlob(grpc::ServerContext* context, const v1::DownloadBlobRequest* request,
                            grpc::ServerWriter<v1::DownloadBlobResponse>* writer) override {
    if (!gate_->Admits(*context)) return Unauthenticated();
    const auto bytes = coordinator_->Download(request->hash(), request->offset());
    if (!bytes.ok()) return ToGrpcStatus(bytes.status());
    const int64_t size = coordinator_->received().blobs[request->hash()].size();
    v1::DownloadBlobResponse piece;
    piece.set_size(size);
    for (size_t at = 0; at < bytes->size() || at == 0; at += 1 << 20) {
      piece.set_data(bytes->substr(at, 1 << 20));
      writer->Write(piece);
      piece.Clear();
    }
    return request->offset() + static_cast<int64_t>(bytes->size()) < size
               ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "the download broke")
               : grpc::Status::OK;
  }

 private:
  FakeCoordinator* const coordinator_;
  Gate* const gate_;
};

class Server final : public FakeCoordinatorServer {
 public:
  Server(FakeCoordinator* coordinator, const std::string& token)
      : gate_(token), worker_(coordinator, &gate_), blobs_(coordinator, &gate_) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(&worker_);
    builder.RegisterService(&blobs_);
    server_ = builder.BuildAndStart();
    URSA_CHECK(server_ != nullptr && port_ != 0);
  }
  ~Server() override {
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
  }
  std::string address() const override { return absl::StrCat("127.0.0.1:", port_); }
  size_t num_connections() const override { return gate_.num_peers(); }

 private:
  Gate gate_;
  WorkerServiceImpl worker_;
  BlobServiceImpl blobs_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace

std::unique_ptr<FakeCoordinatorServer> FakeCoordinatorServer::Start(FakeCoordinator* coordinator,
                                                                    const std::string& token) {
  return std::make_unique<Server>(coordinator, token);
}

}  // namespace ursa
