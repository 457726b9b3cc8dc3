#include "tools/bench/coordinator/echo_server.h"

#include <grpcpp/grpcpp.h>

#include <cstdlib>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/log.h"
#include "ursa/v1/experiments.grpc.pb.h"
#include "ursa/worker/v1/worker.grpc.pb.h"

namespace ursa {
namespace {

using worker::v1::ConnectRequest;
using worker::v1::ConnectResponse;

class EchoExperiments : public v1::ExperimentService::CallbackService {
 public:
  grpc::ServerUnaryReactor* CreateExperiment(grpc::CallbackServerContext* context,
                                             const v1::CreateExperimentRequest* request,
                                             v1::Experiment* response) override {
    response->set_name("experiments/e1");
    *response->mutable_spec() = request->spec();
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

class EchoStream : public grpc::ServerBidiReactor<ConnectRequest, ConnectResponse> {
 public:
  EchoStream() { StartRead(&request_); }
  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    if (request_.has_hello()) {
      response_.mutable_welcome()->set_worker_id("w1");
      StartWrite(&response_);
    }
    StartRead(&request_);
  }
  void OnDone() override { delete this; }

 private:
  ConnectRequest request_;
  ConnectResponse response_;
};

class EchoWorkers : public worker::v1::WorkerService::CallbackService {
 public:
  grpc::ServerBidiReactor<ConnectRequest, ConnectResponse>* Connect(grpc::CallbackServerContext*) override {
    return new EchoStream();
  }
};

}  // namespace

void ServeEcho(const std::string& address_file) {
  EchoExperiments experiments;
  EchoWorkers workers;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&experiments);
  builder.RegisterService(&workers);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  URSA_CHECK(server != nullptr && port != 0) << "no port";
  URSA_CHECK_OK(WriteFileAtomically(address_file, absl::StrCat("127.0.0.1:", port, "\n")));
  server->Wait();
  std::exit(0);
}

}  // namespace ursa
