#include "coordinator/services/grpc_server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/impl/service_type.h>
#include <grpcpp/security/auth_metadata_processor.h>
#include <grpcpp/security/server_credentials.h>

#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/grpc_status.h"
#include "base/net_address.h"
#include "base/status_macros.h"
#include "coordinator/core/coordinator.h"
#include "coordinator/services/grpc_call_support.h"
#include "coordinator/services/poller_rest.h"
#include "coordinator/services/services.h"
#include "coordinator/services/tls_certificate.h"

namespace ursa {
namespace {

constexpr std::string_view kHealthPrefix = "/grpc.health.v1.Health/";
constexpr std::string_view kReflectionPrefix = "/grpc.reflection.";
constexpr absl::Duration kShutdownTime = absl::Milliseconds(500);

std::string_view ToView(const grpc::string_ref& text) { return {text.data(), text.size()}; }

bool StartsWith(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

// Looks at each call before its message is read. Leaves nothing in `context`: it is the connection's, whose other calls
// may be those of other tokens, and may be reading it at this moment.
class Authenticator : public grpc::AuthMetadataProcessor {
 public:
  Authenticator(const Access* access, PollerRest* rest) : access_(*access), rest_(*rest) {}

  bool IsBlocking() const override { return false; }

  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext*, OutputMetadata*, OutputMetadata*) override {
    rest_.OnOtherWork();
    const auto path = metadata.find(":path");
    if (path == metadata.end()) return grpc::Status(grpc::StatusCode::INTERNAL, "call: has no path");
    const std::string_view called = ToView(path->second);
    if (StartsWith(called, kHealthPrefix)) return grpc::Status::OK;
    const absl::StatusOr<std::string_view> token = TokenOf(metadata);
    if (!token.ok()) return ToGrpcStatus(token.status());
    const absl::StatusOr<Identity> identity = access_.Authenticate(*token);
    if (!identity.ok()) return ToGrpcStatus(identity.status());
    if (!StartsWith(called, kReflectionPrefix)) {
      const absl::Status allowed = Authorize(*identity, called);
      if (!allowed.ok()) return ToGrpcStatus(allowed);
    }
    return grpc::Status::OK;
  }

 private:
  const Access& access_;
  PollerRest& rest_;
};

class RunningServer : public GrpcServer {
 public:
  explicit RunningServer(Clock* clock) : rest_(clock) {}
  ~RunningServer() override {
    if (server_ == nullptr) return;
    server_->Shutdown(absl::ToChronoTime(absl::Now() + kShutdownTime));
    server_->Wait();
  }
  const std::string& address() const override { return address_; }

  PollerRest rest_;
  std::vector<std::unique_ptr<grpc::Service>> services_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

std::shared_ptr<grpc::ServerCredentials> MakeCredentials(const GrpcServerOptions& options, const Access* access,
                                                         PollerRest* rest) {
  std::shared_ptr<grpc::ServerCredentials> credentials;
  if (options.tls_key.empty()) {
    // Plain text that gRPC knows to be loopback, and to which it lets an authenticator be attached.
    credentials = grpc::experimental::LocalServerCredentials(LOCAL_TCP);
  } else {
    grpc::SslServerCredentialsOptions ssl;
    ssl.pem_key_cert_pairs.push_back({options.tls_key, options.tls_certificate});
    credentials = grpc::SslServerCredentials(ssl);
  }
  credentials->SetAuthMetadataProcessor(std::make_shared<Authenticator>(access, rest));
  return credentials;
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(Coordinator* coordinator, Executor* blob_executor,
                                                              const GrpcServerOptions& options) {
  URSA_ASSIGN_OR_RETURN(const HostPort address, ParseHostPort(options.listen));
  if (options.tls_certificate.empty() != options.tls_key.empty()) {
    return absl::InvalidArgumentError("TLS: certificate and key must be given together");
  }
  if (!options.tls_key.empty()) {
    URSA_RETURN_IF_ERROR(CheckCertificate(options.tls_certificate, options.tls_key, Clock::Real()->Now()));
  } else if (!IsLoopback(address.host)) {
    return absl::FailedPreconditionError(
        absl::StrCat("listen address \"", options.listen,
                     "\": is reachable from other machines, which needs TLS (hint: --tls_cert and --tls_key)"));
  }
  auto running = std::make_unique<RunningServer>(coordinator->env().clock);
  running->services_.push_back(MakeBlobService(coordinator, blob_executor));
  running->services_.push_back(MakeClusterService(coordinator));
  running->services_.push_back(MakeComparisonService(coordinator));
  running->services_.push_back(MakeDatasetService(coordinator));
  running->services_.push_back(MakeEvaluationService(coordinator));
  running->services_.push_back(MakeExperimentService(coordinator));
  running->services_.push_back(MakePredictionService(coordinator));
  running->services_.push_back(MakeRegistryService(coordinator));
  running->services_.push_back(MakeWorkerService(coordinator, &running->rest_));
  URSA_RETURN_IF_ERROR(
      CheckPermissions({"ursa.v1.BlobService", "ursa.v1.ClusterService", "ursa.v1.ComparisonService",
                        "ursa.v1.DatasetService", "ursa.v1.EvaluationService", "ursa.v1.ExperimentService",
                        "ursa.v1.PredictionService", "ursa.v1.RegistryService", "ursa.worker.v1.WorkerService"}));

  grpc::EnableDefaultHealthCheckService(true);
  static const bool kReflection = [] {
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    return true;
  }();
  (void)kReflection;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(options.listen, MakeCredentials(options, &coordinator->access(), &running->rest_), &port);
  for (const auto& service : running->services_) builder.RegisterService(service.get());
  builder.SetMaxReceiveMessageSize(options.message_bytes_max);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, options.metadata_bytes_max);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.concurrent_streams_max);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS,
                             static_cast<int>(absl::ToInt64Milliseconds(options.keepalive_time)));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                             static_cast<int>(absl::ToInt64Milliseconds(options.keepalive_timeout)));
  const int min_ping_millis = static_cast<int>(absl::ToInt64Milliseconds(options.min_ping_interval));
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, min_ping_millis);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // A port in use is an error, not shared with whoever has it.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  running->server_ = builder.BuildAndStart();
  if (running->server_ == nullptr || port == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("listen address \"", options.listen, "\": cannot be bound, the port is in use or not ours"));
  }
  running->address_ = absl::StrCat(options.listen.substr(0, options.listen.rfind(':')), ":", port);
  return running;
}

}  // namespace ursa
