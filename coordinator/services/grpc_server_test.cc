// The server as its clients meet it: over a real socket, with a store in memory.
#include "coordinator/services/grpc_server.h"

#include <google/protobuf/descriptor.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/grpc_status.h"
#include "coordinator/core/coordinator.h"
#include "storage/blob_store.h"
#include "storage/keys.h"
#include "storage/log_store.h"
#include "storage/memory_kv_store.h"
#include "storage/metric_log.h"
#include "storage/prediction_ledger.h"
#include "storage/record_store.h"
#include "ursa/v1/blobs.grpc.pb.h"
#include "ursa/v1/cluster.grpc.pb.h"
#include "ursa/v1/experiments.grpc.pb.h"
#include "ursa/worker/v1/task.grpc.pb.h"
#include "ursa/worker/v1/worker.grpc.pb.h"

namespace ursa {
namespace {

constexpr char kAdmin[] = "admin-token";
constexpr char kWorker[] = "worker-token";
constexpr size_t kPieceBytes = size_t{1} << 20;

class GrpcServerTest : public ::testing::Test {
 protected:
  GrpcServerTest() {
    EXPECT_TRUE(CheckStoreFormat(&store_).ok());
    blobs_ = *BlobStore::Open(&store_, Clock::Real(), BlobStore::Options());
    commit_ = *Commit::Open(&records_, Commit::Options());
    Environment env;
    env.commit = commit_.get();
    env.clock = Clock::Real();
    env.executor = &executor_;
    env.records = &records_;
    env.blobs = blobs_.get();
    env.metrics = &metrics_;
    env.logs = &logs_;
    env.ledger = &ledger_;
    env.options.version = "test";
    coordinator_ = std::make_unique<Coordinator>(std::move(env));
    commit_->Start();
    coordinator_->Restore();
    coordinator_->access().SetToken("admin", kAdmin,
                                    {v1::PERMISSION_READ, v1::PERMISSION_WRITE, v1::PERMISSION_PROMOTE});
    coordinator_->access().SetToken("worker", kWorker, {v1::PERMISSION_WORKER});
    auto server = GrpcServer::Start(coordinator_.get(), &blob_executor_, GrpcServerOptions());
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials());
  }
  ~GrpcServerTest() override {
    coordinator_->Shutdown();
    server_ = nullptr;
    blob_executor_.Stop();
    executor_.Stop();
    commit_->Stop();
  }

  static void Prepare(grpc::ClientContext* context, const std::string& token = kAdmin) {
    if (!token.empty()) context->AddMetadata("authorization", "Bearer " + token);
    context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  }
  grpc::Status GetStatus(const std::string& token) {
    grpc::ClientContext context;
    Prepare(&context, token);
    v1::Status response;
    return v1::ClusterService::NewStub(channel_)->GetStatus(&context, v1::GetStatusRequest(), &response);
  }
  static worker::v1::ConnectRequest MakeHello() {
    worker::v1::ConnectRequest hello;
    hello.mutable_hello()->set_kind("cpu");
    hello.mutable_hello()->set_slots(2);
    hello.mutable_hello()->set_cores(2);
    hello.mutable_hello()->set_simd("avx2");
    hello.mutable_hello()->set_incarnation("i1");
    return hello;
  }
  // Calls any method with an empty message.
  grpc::Status CallGeneric(const std::string& path, const std::string& token) {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    Prepare(&context, token);
    grpc::CompletionQueue queue;
    grpc::Slice slice;
    grpc::ByteBuffer request(&slice, 1);
    grpc::ByteBuffer response;
    grpc::Status status;
    auto call = stub.PrepareUnaryCall(&context, path, request, &queue);
    call->StartCall();
    call->Finish(&response, &status, this);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    return status;
  }
  // Sends bytes [begin, end) of a blob in pieces.
  grpc::Status Upload(const std::string& hash, const std::string& bytes, size_t begin, size_t end,
                      v1::UploadBlobsResponse* response) {
    grpc::ClientContext context;
    Prepare(&context);
    auto writer = v1::BlobService::NewStub(channel_)->UploadBlobs(&context, response);
    for (size_t at = begin; at < end; at += kPieceBytes) {
      v1::UploadBlobsRequest piece;
      if (at == begin) {
        piece.set_hash(hash);
        piece.set_size(static_cast<int64_t>(bytes.size()));
      }
      piece.set_offset(static_cast<int64_t>(at));
      piece.set_data(bytes.substr(at, std::min(kPieceBytes, end - at)));
      if (!writer->Write(piece)) break;
    }
    writer->WritesDone();
    return writer->Finish();
  }
  absl::StatusOr<std::string> Download(const std::string& hash, int64_t offset) {
    grpc::ClientContext context;
    Prepare(&context);
    v1::DownloadBlobRequest request;
    request.set_hash(hash);
    request.set_offset(offset);
    auto reader = v1::BlobService::NewStub(channel_)->DownloadBlob(&context, request);
    v1::DownloadBlobResponse piece;
    std::string bytes;
    while (reader->Read(&piece)) bytes += piece.data();
    const grpc::Status status = reader->Finish();
    if (!status.ok()) return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
    return bytes;
  }

  MemoryKvStore store_;
  RecordStore records_{&store_};
  MetricLog metrics_{&store_, MetricLog::Options()};
  LogStore logs_{&store_, LogStore::Options()};
  PredictionLedger ledger_{&store_, PredictionLedger::Options()};
  ThreadPool executor_{2};
  ThreadPool blob_executor_{2};
  std::unique_ptr<BlobStore> blobs_;
  std::unique_ptr<Commit> commit_;
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<GrpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(GrpcServerTest, EveryCallOfOursHasAPermission) {
  for (const char* name :
       {"ursa.v1.BlobService", "ursa.v1.ClusterService", "ursa.v1.ComparisonService", "ursa.v1.DatasetService",
        "ursa.v1.EvaluationService", "ursa.v1.ExperimentService", "ursa.v1.PredictionService",
        "ursa.v1.RegistryService", "ursa.worker.v1.WorkerService", "ursa.worker.v1.TaskService"}) {
    EXPECT_TRUE(CheckPermissions({name}).ok()) << CheckPermissions({name});
  }
  EXPECT_EQ(CheckPermissions({"grpc.health.v1.NoSuchService"}).code(), absl::StatusCode::kInternal);
}

TEST_F(GrpcServerTest, ATokenIsAskedForByAllButHealth) {
  EXPECT_TRUE(GetStatus(kAdmin).ok());
  EXPECT_EQ(GetStatus("").error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(GetStatus("wrong").error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(GetStatus(kWorker).error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_TRUE(CallGeneric("/grpc.health.v1.Health/Check", "").ok());
  const std::string reflection = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
  EXPECT_EQ(CallGeneric(reflection, "").error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_NE(CallGeneric(reflection, kAdmin).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(CallGeneric("/ursa.v1.ClusterService/NoSuchCall", "").error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(FromGrpcStatus(CallGeneric("/ursa.v1.ClusterService/NoSuchCall", kAdmin)).code(),
            absl::StatusCode::kUnimplemented);
}

// Walks the descriptors: no call that we serve answers somebody without a token.
TEST_F(GrpcServerTest, NoCallAnswersAStranger) {
  for (const char* file : {"ursa/v1/blobs.proto", "ursa/v1/cluster.proto", "ursa/v1/comparisons.proto",
                           "ursa/v1/datasets.proto", "ursa/v1/evaluations.proto", "ursa/v1/experiments.proto",
                           "ursa/v1/predictions.proto", "ursa/v1/registry.proto", "ursa/worker/v1/worker.proto"}) {
    const auto* descriptor = google::protobuf::DescriptorPool::generated_pool()->FindFileByName(file);
    ASSERT_NE(descriptor, nullptr) << file;
    ASSERT_GT(descriptor->service_count(), 0);
    for (int s = 0; s < descriptor->service_count(); ++s) {
      for (int m = 0; m < descriptor->service(s)->method_count(); ++m) {
        const auto* method = descriptor->service(s)->method(m);
        const std::string path = "/" + descriptor->service(s)->full_name() + "/" + method->name();
        EXPECT_EQ(CallGeneric(path, "").error_code(), grpc::StatusCode::UNAUTHENTICATED) << path;
      }
    }
  }
}

TEST_F(GrpcServerTest, BlobsGoUpAndComeDown) {
  const std::string large(3 * kPieceBytes + 17, 'x');
  const std::string small = "small";
  for (const std::string& bytes : {large, small, std::string()}) {
    v1::UploadBlobsResponse response;
    const std::string hash = Sha256Hex(bytes);
    const grpc::Status status = Upload(hash, bytes, 0, std::max<size_t>(bytes.size(), 1), &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.num_blobs(), 1);
    EXPECT_EQ(response.bytes_stored(), static_cast<int64_t>(bytes.size()));
    EXPECT_EQ(*Download(hash, 0), bytes);
  }
  EXPECT_EQ(*Download(Sha256Hex(large), static_cast<int64_t>(large.size()) - 3), "xxx");
  EXPECT_EQ(Download(Sha256Hex(small), 6).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(Download(Sha256Hex("unknown"), 0).status().code(), absl::StatusCode::kNotFound);
  v1::UploadBlobsResponse again;
  ASSERT_TRUE(Upload(Sha256Hex(large), large, 0, large.size(), &again).ok());
  EXPECT_EQ(again.num_blobs(), 1);
  EXPECT_EQ(again.bytes_stored(), 0);
}

TEST_F(GrpcServerTest, ABrokenUploadLeavesNothingVisibleAndGoesOn) {
  std::string bytes(4 * kPieceBytes + 5, 'a');
  const std::string hash = Sha256Hex(bytes);
  v1::UploadBlobsResponse response;
  EXPECT_EQ(Upload(hash, bytes, 0, 2 * kPieceBytes, &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Download(hash, 0).status().code(), absl::StatusCode::kNotFound);
  grpc::ClientContext context;
  Prepare(&context);
  v1::GetUploadOffsetRequest request;
  request.set_hash(hash);
  v1::GetUploadOffsetResponse offset;
  ASSERT_TRUE(v1::BlobService::NewStub(channel_)->GetUploadOffset(&context, request, &offset).ok());
  EXPECT_EQ(offset.offset(), static_cast<int64_t>(2 * kPieceBytes));
  EXPECT_EQ(Upload(hash, bytes, kPieceBytes, bytes.size(), &response).error_code(), grpc::StatusCode::OUT_OF_RANGE);
  ASSERT_TRUE(Upload(hash, bytes, 2 * kPieceBytes, bytes.size(), &response).ok());
  EXPECT_EQ(*Download(hash, 0), bytes);
}

TEST_F(GrpcServerTest, BytesWithAnotherHashAreRefused) {
  v1::UploadBlobsResponse response;
  EXPECT_EQ(Upload(Sha256Hex("this"), "that", 0, 4, &response).error_code(), grpc::StatusCode::DATA_LOSS);
  const std::string large(2 * kPieceBytes, 'y');
  EXPECT_EQ(Upload(Sha256Hex("this"), large, 0, large.size(), &response).error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(Upload("not a hash", "that", 0, 4, &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Download(Sha256Hex("this"), 0).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(GrpcServerTest, AWorkersStream) {
  grpc::ClientContext context;
  Prepare(&context, kWorker);
  auto stream = worker::v1::WorkerService::NewStub(channel_)->Connect(&context);
  const worker::v1::ConnectRequest hello = MakeHello();
  ASSERT_TRUE(stream->Write(hello));
  worker::v1::ConnectResponse answer;
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_EQ(answer.welcome().worker_id(), "w1");
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_TRUE(answer.has_desired());
  ASSERT_TRUE(stream->Write(hello));  // out of order
  EXPECT_FALSE(stream->Read(&answer));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(GrpcServerTest, AnEmptyMessageIsAHeartbeatButAnUnknownOneIsRefused) {
  grpc::ClientContext context;
  Prepare(&context, kWorker);
  auto stream = worker::v1::WorkerService::NewStub(channel_)->Connect(&context);
  worker::v1::ConnectRequest message = MakeHello();
  ASSERT_TRUE(stream->Write(message));
  worker::v1::ConnectResponse answer;
  ASSERT_TRUE(stream->Read(&answer) && stream->Read(&answer));
  message.Clear();
  ASSERT_TRUE(stream->Write(message));
  message.GetReflection()->MutableUnknownFields(&message)->AddVarint(99, 1);  // a newer agent's
  ASSERT_TRUE(stream->Write(message));
  EXPECT_FALSE(stream->Read(&answer));
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "stream: a message of an unknown kind");
}

// So many that gRPC's threads rest (PollerRest): calls are answered all the same, and the server ends.
TEST_F(GrpcServerTest, CallsAmongThousandsOfHeartbeats) {
  grpc::ClientContext context;
  Prepare(&context, kWorker);
  auto stream = worker::v1::WorkerService::NewStub(channel_)->Connect(&context);
  ASSERT_TRUE(stream->Write(MakeHello()));
  worker::v1::ConnectResponse answer;
  ASSERT_TRUE(stream->Read(&answer) && stream->Read(&answer));
  absl::Mutex mu;
  int num_beats = 0;
  bool is_ending = false;
  std::thread beats([&] {
    while (stream->Write(worker::v1::ConnectRequest())) {
      absl::MutexLock lock(&mu);
      if (is_ending) return;
      ++num_beats;
    }
  });
  const auto stub = v1::ClusterService::NewStub(channel_);
  for (int i = 0; i < 20; ++i) {
    {
      absl::MutexLock lock(&mu);
      num_beats = 0;
      const int count = 500 * (i % 8);  // within and beyond the time in which nobody rests
      const auto are_sent = [&] { return num_beats >= count; };
      ASSERT_TRUE(mu.AwaitWithTimeout(absl::Condition(&are_sent), absl::Seconds(60)));
    }
    grpc::ClientContext call;
    Prepare(&call, kAdmin);
    v1::Status status;
    EXPECT_TRUE(stub->GetStatus(&call, v1::GetStatusRequest(), &status).ok());
    EXPECT_EQ(status.workers(), 1);
  }
  {
    absl::MutexLock lock(&mu);
    is_ending = true;
  }
  beats.join();
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

// A connection may carry the calls of several: a proxy's does.
TEST_F(GrpcServerTest, CallersThatShareAConnectionAreToldApart) {
  coordinator_->access().SetToken("other", "other-token", {v1::PERMISSION_WRITE});
  {
    grpc::ClientContext context;
    Prepare(&context, kWorker);
    auto stream = worker::v1::WorkerService::NewStub(channel_)->Connect(&context);
    ASSERT_TRUE(stream->Write(MakeHello()));
    worker::v1::ConnectResponse answer;
    ASSERT_TRUE(stream->Read(&answer));
    context.TryCancel();
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  const auto stub = v1::ClusterService::NewStub(channel_);
  v1::Worker worker;
  for (const std::string& token : {std::string(kAdmin), std::string("other-token"), std::string(kAdmin)}) {
    grpc::ClientContext context;
    Prepare(&context, token);
    v1::DrainWorkerRequest request;
    request.set_name("workers/w1");
    const grpc::Status status = stub->DrainWorker(&context, request, &worker);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  const auto rows = records_.ReadEvents(1, 100);
  ASSERT_TRUE(rows.ok()) << rows.status();
  std::vector<std::string> actors;
  for (const RecordStore::Event& row : *rows) {
    records::AuditEventRecord event;
    records::AuditPayload payload;
    ASSERT_TRUE(event.ParseFromString(row.bytes) && payload.ParseFromString(event.payload()));
    if (payload.action() == "worker.drain") actors.push_back(payload.actor());
  }
  EXPECT_EQ(actors, (std::vector<std::string>{"admin", "other", "admin"}));
}

TEST_F(GrpcServerTest, StreamsOfUnknownExperimentsEnd) {
  const auto stub = v1::ExperimentService::NewStub(channel_);
  grpc::ClientContext watch;
  Prepare(&watch);
  v1::WatchExperimentRequest request;
  request.set_name("experiments/e7");
  v1::Experiment experiment;
  auto stream = stub->WatchExperiment(&watch, request);
  EXPECT_FALSE(stream->Read(&experiment));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
  grpc::ClientContext follow;
  Prepare(&follow);
  v1::ReadLogsRequest logs;
  logs.set_parent("experiments/e7");
  logs.set_follow(true);
  v1::ReadLogsResponse lines;
  auto log_stream = stub->ReadLogs(&follow, logs);
  EXPECT_FALSE(log_stream->Read(&lines));
  EXPECT_EQ(log_stream->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(GrpcServerTest, AddressesThatCannotBeServedAreRefused) {
  GrpcServerOptions options;
  options.listen = server_->address();
  const auto in_use = GrpcServer::Start(coordinator_.get(), &blob_executor_, options);
  EXPECT_EQ(in_use.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(in_use.status().message().find("in use"), std::string::npos) << in_use.status();
  options.listen = "0.0.0.0:0";
  EXPECT_EQ(GrpcServer::Start(coordinator_.get(), &blob_executor_, options).status().code(),
            absl::StatusCode::kFailedPrecondition);
  options.listen = "localhost";
  EXPECT_EQ(GrpcServer::Start(coordinator_.get(), &blob_executor_, options).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ursa
