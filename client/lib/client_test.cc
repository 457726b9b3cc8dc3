// The client against a server in this process that misbehaves as told: it goes away, forgets, and comes back.
#include "client/lib/client.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/digest.h"
#include "ursa/v1/blobs.grpc.pb.h"
#include "ursa/v1/cluster.grpc.pb.h"
#include "ursa/v1/datasets.grpc.pb.h"
#include "ursa/v1/experiments.grpc.pb.h"

namespace ursa {
namespace {

constexpr char kToken[] = "secret";

// What the fake services share.
struct Script {
  absl::Mutex mu;
  int unavailable_calls = 0;             // so many unary calls are answered UNAVAILABLE first
  std::vector<std::string> request_ids;  // of CreateExperiment
  int num_calls = 0;

  // Watch and logs: each stream gives the next of these, then breaks, but for the last.
  std::vector<std::vector<v1::Experiment>> watches;
  std::vector<std::vector<v1::ReadLogsResponse>> logs;
  std::vector<std::string> log_tokens_asked;

  // Blobs: complete ones, and the bytes of the unfinished; a stream breaks after so many pieces.
  std::map<std::string, std::string> blobs;
  std::map<std::string, std::string> unfinished;
  std::vector<int> pieces_before_break;
  int pieces_received = 0;
  std::vector<int64_t> page_sizes;

  grpc::Status Next(grpc::ServerContext* context) {
    ++num_calls;
    const auto token = context->client_metadata().find("authorization");
    if (token == context->client_metadata().end() || token->second != std::string("Bearer ") + kToken)
      return grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "token: is not known");
    if (unavailable_calls > 0) {
      --unavailable_calls;
      return grpc::Status(grpc::StatusCode::UNAVAILABLE, "worker: there is none");
    }
    return grpc::Status::OK;
  }
};

class FakeCluster : public v1::ClusterService::Service {
 public:
  explicit FakeCluster(Script* script) : script_(script) {}
  grpc::Status GetStatus(grpc::ServerContext* context, const v1::GetStatusRequest*, v1::Status* response) override {
    absl::MutexLock lock(&script_->mu);
    response->set_version("fake");
    return script_->Next(context);
  }

 private:
  Script* script_;
};

class FakeExperiments : public v1::ExperimentService::Service {
 public:
  explicit FakeExperiments(Script* script) : script_(script) {}
  grpc::Status CreateExperiment(grpc::ServerContext* context, const v1::CreateExperimentRequest* request,
                                v1::Experiment* response) override {
    absl::MutexLock lock(&script_->mu);
    script_->request_ids.push_back(request->request_id());
    response->set_experiment_id("e1");
    return script_->Next(context);
  }
  grpc::Status WatchExperiment(grpc::ServerContext*, const v1::WatchExperimentRequest*,
                               grpc::ServerWriter<v1::Experiment>* writer) override {
    absl::MutexLock lock(&script_->mu);
    return Play(&script_->watches, writer);
  }
  grpc::Status ReadLogs(grpc::ServerContext*, const v1::ReadLogsRequest* request,
                        grpc::ServerWriter<v1::ReadLogsResponse>* writer) override {
    absl::MutexLock lock(&script_->mu);
    script_->log_tokens_asked.push_back(request->page_token());
    return Play(&script_->logs, writer);
  }

 private:
  template <typename T>
  static grpc::Status Play(std::vector<std::vector<T>>* streams, grpc::ServerWriter<T>* writer) {
    if (streams->empty()) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone");
    const std::vector<T> messages = streams->front();
    streams->erase(streams->begin());
    for (const T& message : messages) writer->Write(message);
    return streams->empty() ? grpc::Status::OK : grpc::Status(grpc::StatusCode::UNAVAILABLE, "stopping");
  }
  Script* script_;
};

class FakeDatasets : public v1::DatasetService::Service {
 public:
  explicit FakeDatasets(Script* script) : script_(script) {}
  grpc::Status ListExamples(grpc::ServerContext* context, const v1::ListExamplesRequest* request,
                            v1::ListExamplesResponse* response) override {
    absl::MutexLock lock(&script_->mu);
    script_->page_sizes.push_back(request->page_size());
    const int begin = request->page_token().empty() ? 0 : std::stoi(request->page_token());
    for (int i = begin; i < begin + request->page_size() && i < 2500; ++i)
      response->add_examples()->set_id(std::to_string(i));
    if (begin + request->page_size() < 2500)
      response->set_next_page_token(std::to_string(begin + request->page_size()));
    return script_->Next(context);
  }

  grpc::Status GetImport(grpc::ServerContext* context, const v1::GetImportRequest*, v1::Import* response) override {
    absl::MutexLock lock(&script_->mu);
    const int done = ++num_asked_;
    response->set_num_checked(done);
    response->set_state(done < 4 ? v1::Import::STATE_RUNNING : v1::Import::STATE_COMPLETED);
    return script_->Next(context);
  }

 private:
  Script* script_;
  int num_asked_ = 0;
};

class FakeBlobs : public v1::BlobService::Service {
 public:
  explicit FakeBlobs(Script* script) : script_(script) {}
  grpc::Status FindMissingBlobs(grpc::ServerContext*, const v1::FindMissingBlobsRequest* request,
                                v1::FindMissingBlobsResponse* response) override {
    absl::MutexLock lock(&script_->mu);
    if (request->hashes_size() > 10'000) return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "too many");
    for (const std::string& hash : request->hashes()) {
      if (script_->blobs.count(hash) == 0) response->add_missing(hash);
    }
    return grpc::Status::OK;
  }
  grpc::Status GetUploadOffset(grpc::ServerContext*, const v1::GetUploadOffsetRequest* request,
                               v1::GetUploadOffsetResponse* response) override {
    absl::MutexLock lock(&script_->mu);
    if (script_->blobs.count(request->hash()) > 0) return grpc::Status(grpc::StatusCode::ALREADY_EXISTS, "is there");
    response->set_offset(static_cast<int64_t>(script_->unfinished[request->hash()].size()));
    return grpc::Status::OK;
  }
  grpc::Status UploadBlobs(grpc::ServerContext*, grpc::ServerReader<v1::UploadBlobsRequest>* reader,
                           v1::UploadBlobsResponse* response) override {
    int pieces_left = INT32_MAX;
    auto code = grpc::StatusCode::UNAVAILABLE;
    {
      absl::MutexLock lock(&script_->mu);
      if (!script_->pieces_before_break.empty()) {
        pieces_left = script_->pieces_before_break.front();
        script_->pieces_before_break.erase(script_->pieces_before_break.begin());
        // A server that stops in good order cancels.
        if (script_->pieces_before_break.size() % 2 == 1) code = grpc::StatusCode::CANCELLED;
      }
    }
    v1::UploadBlobsRequest piece;
    std::string hash;
    int64_t size = 0;
    while (reader->Read(&piece)) {
      if (pieces_left-- == 0) return grpc::Status(code, "stopping");
      absl::MutexLock lock(&script_->mu);
      ++script_->pieces_received;
      if (!piece.hash().empty()) {
        hash = piece.hash();
        size = piece.size();
      }
      std::string& bytes = script_->unfinished[hash];
      if (piece.offset() != static_cast<int64_t>(bytes.size()))
        return grpc::Status(grpc::StatusCode::OUT_OF_RANGE, absl::StrCat("upload stands at ", bytes.size()));
      if (piece.data().size() > 1 << 20) return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "piece too large");
      bytes += piece.data();
      if (static_cast<int64_t>(bytes.size()) < size) continue;
      if (Sha256Hex(bytes) != hash) {
        script_->unfinished.erase(hash);
        return grpc::Status(grpc::StatusCode::DATA_LOSS, absl::StrCat("blob ", hash, ": has other bytes"));
      }
      script_->blobs[hash] = bytes;
      script_->unfinished.erase(hash);
      response->set_num_blobs(response->num_blobs() + 1);
    }
    return grpc::Status::OK;
  }

 private:
  Script* script_;
};

class ClientTest : public ::testing::Test {
 protected:
  ClientTest() { Start(0); }
  ~ClientTest() override { Stop(); }

  void Start(int port) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(absl::StrCat("127.0.0.1:", port), grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(&cluster_);
    builder.RegisterService(&experiments_);
    builder.RegisterService(&datasets_);
    builder.RegisterService(&blobs_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    ASSERT_NE(port_, 0);
  }

  void Stop() {
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
    server_.reset();
  }

  std::unique_ptr<Client> NewClient(absl::Duration patience = absl::Seconds(10), const std::string& token = kToken) {
    ClientOptions options;
    options.server = absl::StrCat("127.0.0.1:", port_);
    options.token = token;
    options.patience = patience;
    options.watch_patience = patience;
    absl::StatusOr<std::unique_ptr<Client>> client = Client::Create(options);
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }

  Script script_;
  FakeCluster cluster_{&script_};
  FakeExperiments experiments_{&script_};
  FakeDatasets datasets_{&script_};
  FakeBlobs blobs_{&script_};
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(ClientTest, UnavailableIsTriedAgainWithTheSameRequestId) {
  script_.unavailable_calls = 2;
  const auto created = NewClient()->CreateExperiment(v1::ExperimentSpec(), /*paused=*/false);
  ASSERT_TRUE(created.ok()) << created.status();
  ASSERT_EQ(script_.request_ids.size(), 3u);
  EXPECT_EQ(std::set<std::string>(script_.request_ids.begin(), script_.request_ids.end()).size(), 1u);
  EXPECT_GE(script_.request_ids[0].size(), 16u);
}

TEST_F(ClientTest, EachCallHasARequestIdOfItsOwn) {
  const auto client = NewClient();
  ASSERT_TRUE(client->CreateExperiment(v1::ExperimentSpec(), /*paused=*/false).ok());
  ASSERT_TRUE(client->CreateExperiment(v1::ExperimentSpec(), /*paused=*/false).ok());
  EXPECT_NE(script_.request_ids[0], script_.request_ids[1]);
}

TEST_F(ClientTest, OtherErrorsAreNotTriedAgain) {
  const auto status = NewClient(absl::Seconds(10), "wrong")->GetStatus().status();
  EXPECT_TRUE(absl::IsUnauthenticated(status)) << status;
  EXPECT_FALSE(IsUnreachable(status));
  EXPECT_EQ(script_.num_calls, 1);
}

TEST_F(ClientTest, AServerThatAnswersUnavailableIsNotUnreachable) {
  script_.unavailable_calls = 1'000'000;
  const auto status = NewClient(absl::Milliseconds(200))->GetStatus().status();
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_FALSE(IsUnreachable(status)) << status;
  EXPECT_GT(script_.num_calls, 1);
}

TEST_F(ClientTest, AServerThatIsNotThereIsUnreachable) {
  Stop();
  const auto status = NewClient(absl::Milliseconds(200))->GetStatus().status();
  EXPECT_TRUE(IsUnreachable(status)) << status;
}

TEST_F(ClientTest, ACallSurvivesARestartOfTheServer) {
  const auto client = NewClient();
  ASSERT_TRUE(client->GetStatus().ok());
  const int port = port_;
  Stop();
  Start(port);
  const auto status = client->GetStatus();
  EXPECT_TRUE(status.ok()) << status.status();
}

v1::Experiment At(int64_t step, v1::Experiment::State state) {
  v1::Experiment experiment;
  experiment.set_step(step);
  experiment.set_state(state);
  return experiment;
}

TEST_F(ClientTest, AWatchGoesOnWhenItsStreamBreaks) {
  script_.watches = {{At(1, v1::Experiment::STATE_RUNNING), At(2, v1::Experiment::STATE_RUNNING)},
                     {},  // a stream that breaks at once
                     {At(2, v1::Experiment::STATE_QUEUED)},
                     {At(2, v1::Experiment::STATE_RUNNING), At(3, v1::Experiment::STATE_COMPLETED)}};
  std::vector<int64_t> steps;
  const auto last =
      NewClient()->WatchExperiment("experiments/e1", [&](const v1::Experiment& now) { steps.push_back(now.step()); });
  ASSERT_TRUE(last.ok()) << last.status();
  EXPECT_EQ(last->state(), v1::Experiment::STATE_COMPLETED);
  EXPECT_EQ(steps, (std::vector<int64_t>{1, 2, 2, 2, 3}));
}

TEST_F(ClientTest, AWatchGivesUpOnAServerThatStaysAway) {
  script_.watches = {{At(1, v1::Experiment::STATE_RUNNING)}, {}};
  const auto client = NewClient(absl::Milliseconds(300));
  Stop();
  EXPECT_TRUE(IsUnreachable(client->WatchExperiment("experiments/e1", nullptr).status()));
}

v1::ReadLogsResponse Lines(const std::string& text, const std::string& token) {
  v1::ReadLogsResponse response;
  response.add_lines()->set_text(text);
  response.set_page_token(token);
  return response;
}

TEST_F(ClientTest, LogsGoOnBehindTheLastLineThatCame) {
  script_.logs = {{Lines("one", "1"), Lines("two", "2")}, {}, {Lines("three", "3")}};
  std::vector<std::string> lines;
  v1::ReadLogsRequest request;
  request.set_parent("experiments/e1");
  request.set_follow(true);
  const absl::Status status = NewClient()->ReadLogs(request, [&](const v1::ReadLogsResponse& response) {
    for (const v1::LogLine& line : response.lines()) lines.push_back(line.text());
  });
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(lines, (std::vector<std::string>{"one", "two", "three"}));
  EXPECT_EQ(script_.log_tokens_asked, (std::vector<std::string>{"", "2", "2"}));
}

TEST_F(ClientTest, ALimitOfLinesHoldsAcrossABreak) {
  v1::ReadLogsResponse searching;  // nothing found yet
  searching.set_page_token("1");
  script_.logs = {{searching, Lines("one", "2")}, {Lines("two", "3"), Lines("three", "4")}, {}};
  std::vector<std::string> lines;
  v1::ReadLogsRequest request;
  request.set_parent("experiments/e1");
  request.set_max_lines(2);
  const absl::Status status = NewClient()->ReadLogs(request, [&](const v1::ReadLogsResponse& response) {
    for (const v1::LogLine& line : response.lines()) lines.push_back(line.text());
  });
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(lines, (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(script_.log_tokens_asked, (std::vector<std::string>{"", "2"}));
}

TEST_F(ClientTest, PagesArePutTogetherUpToTheLimit) {
  const auto client = NewClient();
  const auto all = client->ListExamples("datasets/x/versions/1", "", "", INT64_MAX);
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_EQ(all->size(), 2500u);
  EXPECT_EQ((*all)[2499].id(), "2499");
  EXPECT_EQ(script_.page_sizes, (std::vector<int64_t>{1000, 1000, 1000}));
  const auto few = client->ListExamples("datasets/x/versions/1", "", "", 3);
  ASSERT_TRUE(few.ok());
  EXPECT_EQ(few->size(), 3u);
  EXPECT_EQ(script_.page_sizes.back(), 3);
}

TEST_F(ClientTest, ImportsAreWaitedFor) {
  std::vector<int64_t> checked;
  const auto import =
      NewClient()->WaitForImport("imports/i1", [&](const v1::Import& now) { checked.push_back(now.num_checked()); });
  ASSERT_TRUE(import.ok()) << import.status();
  EXPECT_EQ(checked, (std::vector<int64_t>{1, 2, 3, 4}));
}

BlobSource Bytes(const std::string& bytes) { return {Sha256Hex(bytes), static_cast<int64_t>(bytes.size()), "", bytes}; }

TEST_F(ClientTest, ManyHashesAreAskedForInSeveralCalls) {
  std::vector<std::string> hashes(25'000, std::string(64, 'a'));
  script_.blobs[std::string(64, 'b')] = "";
  hashes[12'345] = std::string(64, 'b');
  const auto missing = NewClient()->FindMissingBlobs(hashes);
  ASSERT_TRUE(missing.ok()) << missing.status();
  EXPECT_EQ(missing->size(), 24'999u);
}

TEST_F(ClientTest, BlobsOfAllSizesArrive) {
  const std::string path = ::testing::TempDir() + "/blob";
  const std::string large(2'500'000, 'x');
  std::ofstream(path) << large;
  std::vector<BlobSource> blobs = {
      Bytes("small"), Bytes(""), {Sha256Hex(large), 2'500'000, path, ""}, Bytes(std::string(1 << 20, 'm'))};
  UploadProgress last;
  const absl::Status status = NewClient()->UploadBlobs(blobs, [&](const UploadProgress& now) { last = now; });
  ASSERT_TRUE(status.ok()) << status;
  for (const BlobSource& blob : blobs) EXPECT_EQ(script_.blobs.count(blob.hash), 1u) << blob.size;
  EXPECT_EQ(script_.blobs[Sha256Hex(large)], large);
  EXPECT_EQ(last.bytes_done, last.bytes_total);
  EXPECT_EQ(last.bytes_total, 5 + 2'500'000 + (1 << 20));
}

TEST_F(ClientTest, AnUploadGoesOnWhereItsStreamBroke) {
  const std::string large = std::string(5 << 20, 'x') + "y";  // six pieces
  const std::vector<BlobSource> blobs = {Bytes("one"), Bytes(large), Bytes("two")};
  script_.pieces_before_break = {4, 0, 1};
  UploadProgress last;
  const absl::Status status = NewClient()->UploadBlobs(blobs, [&](const UploadProgress& now) { last = now; });
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(script_.blobs.size(), 3u);
  EXPECT_EQ(script_.blobs[Sha256Hex(large)], large);
  EXPECT_EQ(script_.pieces_received, 8);  // each piece once
  EXPECT_EQ(last.bytes_done, last.bytes_total);
}

TEST_F(ClientTest, AnUploadGoesOnWhereAnotherClientWasKilled) {
  const std::string large = std::string(3 << 20, 'x') + "y";
  script_.unfinished[Sha256Hex(large)] = large.substr(0, 2 << 20);
  ASSERT_TRUE(NewClient()->UploadBlobs({Bytes(large)}, nullptr).ok());
  EXPECT_EQ(script_.blobs[Sha256Hex(large)], large);
  EXPECT_EQ(script_.pieces_received, 2);
}

TEST_F(ClientTest, AFileThatChangesWhileItIsReadIsNamed) {
  const std::string path = ::testing::TempDir() + "/changed";
  std::ofstream(path) << "new bytes";
  const std::string hash = Sha256Hex("old bytes");
  const absl::Status other = NewClient()->UploadBlobs({{hash, 9, path, ""}}, nullptr);
  EXPECT_TRUE(absl::IsDataLoss(other)) << other;
  EXPECT_NE(other.message().find(path), std::string::npos) << other;
  const absl::Status shorter = NewClient()->UploadBlobs({{hash, 20, path, ""}}, nullptr);
  EXPECT_TRUE(absl::IsDataLoss(shorter)) << shorter;
  EXPECT_NE(shorter.message().find("had 20 bytes, has 9"), std::string::npos) << shorter;
  EXPECT_TRUE(script_.blobs.empty());
}

}  // namespace
}  // namespace ursa
