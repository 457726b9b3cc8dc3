// Both ends of the socket between task and agent: TaskServer and AgentClient.
#include "worker/agent/task_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "base/digest.h"
#include "base/file.h"
#include "gtest/gtest.h"
#include "worker/agent_client/agent_client.h"

namespace ursa {
namespace {

using worker::v1::StoreRequest;
using worker::v1::StoreResponse;
using worker::v1::TaskEvent;

// Answers at once, except a rendezvous GET, which it keeps.
class FakeHost final : public TaskHost {
 public:
  explicit FakeHost(BlobCache* cache) : cache_(cache) {}

  void FetchBlobs(const ProcessKey&, const std::vector<std::string>& hashes,
                  std::function<void(absl::StatusOr<std::vector<std::string>>)> done) override {
    absl::MutexLock lock(&mu_);
    fetch_sizes.push_back(hashes.size());
    if (hashes[0] == "missing") return done(absl::NotFoundError("blob missing: not here"));
    std::vector<std::string> paths;
    for (const std::string& hash : hashes) paths.push_back("/" + hash);
    done(std::move(paths));
  }
  absl::StatusOr<std::unique_ptr<BlobCache::Writer>> NewBlob(const ProcessKey&) override { return cache_->NewWriter(); }
  absl::StatusOr<std::string> CommitBlob(const ProcessKey& key, BlobCache::Writer* writer) override {
    return writer->Commit(key.ToString());
  }
  void ReportEvents(const ProcessKey& key, std::vector<TaskEvent> reported,
                    std::function<void(absl::Status)> done) override {
    absl::MutexLock lock(&mu_);
    EXPECT_EQ(key.ToString(), "t1/2/3");
    ++num_reports;
    events.insert(events.end(), reported.begin(), reported.end());
    done(absl::OkStatus());
  }
  void ReportPosition(const ProcessKey& key, worker::v1::RankPosition said) override {
    absl::MutexLock lock(&mu_);
    EXPECT_EQ(key.ToString(), "t1/2/3");
    position = std::move(said);
  }
  void Rendezvous(const ProcessKey&, StoreRequest request,
                  std::function<void(absl::StatusOr<StoreResponse>)> done) override {
    absl::MutexLock lock(&mu_);
    if (request.operation() == StoreRequest::OPERATION_GET) {
      kept.push_back(std::move(done));
      return;
    }
    StoreResponse response;
    response.set_number(7);
    done(response);
  }

  absl::Mutex mu_;
  std::vector<size_t> fetch_sizes;
  std::vector<TaskEvent> events;
  int num_reports = 0;
  worker::v1::RankPosition position;
  std::vector<std::function<void(absl::StatusOr<StoreResponse>)>> kept;

 private:
  BlobCache* const cache_;
};

class TaskServerTest : public testing::Test {
 protected:
  TaskServerTest() {
    BlobCache::Options cache_options;
    cache_options.bytes_max = 20'000'000;
    cache_options.free_bytes_min = 0;
    cache_ = *BlobCache::Open(testing::TempDir() + "/cache_" + RandomHex(4), cache_options);
    host_.emplace(cache_.get());
    int sockets[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    TaskServer::Options options;
    options.directives_bytes_max = 1'000'000;
    auto server = TaskServer::Start(&*host_, sockets[0], options, [this] { waits_.Notify(); });
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    auto client = AgentClient::Connect(sockets[1]);
    EXPECT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
  }
  void Assign() {
    worker::v1::TaskAssignment assignment;
    assignment.set_task_id("t1");
    assignment.set_rank(3);
    server_->Assign({"t1", 2, 3}, assignment);
  }
  static worker::v1::TaskDirective Stop(const std::string& reason) {
    worker::v1::TaskDirective directive;
    directive.mutable_stop()->set_reason(reason);
    return directive;
  }
  // A call that the host does not answer, begun in a thread; its status when it ends.
  std::thread Blocked(absl::Status* status) {
    std::thread thread([this, status] {
      StoreRequest request;
      request.set_operation(StoreRequest::OPERATION_GET);
      *status = client_->Rendezvous(request).status();
    });
    absl::MutexLock lock(&host_->mu_);
    auto kept = [this] { return !host_->kept.empty(); };
    host_->mu_.Await(absl::Condition(&kept));
    return thread;
  }

  std::unique_ptr<BlobCache> cache_;
  std::optional<FakeHost> host_;
  absl::Notification waits_;
  std::unique_ptr<TaskServer> server_;
  std::unique_ptr<AgentClient> client_;
};

// Of a process that has its task from the start.
class AssignedTaskServerTest : public TaskServerTest {
 protected:
  AssignedTaskServerTest() { Assign(); }
};

TEST_F(AssignedTaskServerTest, GivesTheAssignment) {
  const auto assignment = client_->GetAssignment();
  ASSERT_TRUE(assignment.ok()) << assignment.status();
  EXPECT_EQ(assignment->rank(), 3);
  EXPECT_FALSE(waits_.HasBeenNotified());
  EXPECT_TRUE(server_->WasAsked());
}

TEST_F(TaskServerTest, ASpareWaitsForItsAssignmentAndMayDoNothingElse) {
  absl::StatusOr<worker::v1::TaskAssignment> assignment;
  EXPECT_FALSE(server_->WasAsked());
  std::thread waiting([&] { assignment = client_->GetAssignment(); });
  ASSERT_TRUE(waits_.WaitForNotificationWithTimeout(absl::Seconds(20)));
  EXPECT_TRUE(absl::IsFailedPrecondition(client_->GetAssignment().status())) << "one waits already";
  EXPECT_TRUE(server_->WasAsked());
  EXPECT_TRUE(absl::IsFailedPrecondition(client_->FetchBlobs({"a"}).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(client_->PutBytes("bytes").status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(client_->Report(TaskEvent())));
  EXPECT_TRUE(absl::IsFailedPrecondition(client_->ReportPosition({})));
  EXPECT_TRUE(absl::IsFailedPrecondition(client_->Rendezvous({}).status()));
  EXPECT_EQ(host_->num_reports, 0);
  Assign();
  waiting.join();
  ASSERT_TRUE(assignment.ok()) << assignment.status();
  EXPECT_EQ(assignment->rank(), 3);
  EXPECT_TRUE(client_->Report(TaskEvent()).ok());
  EXPECT_EQ(host_->num_reports, 1);
}

TEST_F(TaskServerTest, AssigningOneThatHasGoneDoesNoHarm) {
  std::thread waiting([&] { EXPECT_FALSE(client_->GetAssignment().ok()); });
  ASSERT_TRUE(waits_.WaitForNotificationWithTimeout(absl::Seconds(20)));
  std::thread closing([this] { client_.reset(); });
  waiting.join();
  closing.join();
  Assign();
}

TEST_F(TaskServerTest, EndOfTheServerEndsTheWait) {
  std::thread waiting([&] { EXPECT_FALSE(client_->GetAssignment().ok()); });
  ASSERT_TRUE(waits_.WaitForNotificationWithTimeout(absl::Seconds(20)));
  server_.reset();
  waiting.join();
}

TEST_F(AssignedTaskServerTest, FetchesAnyNumberInBoundedRequests) {
  std::vector<std::string> hashes;
  for (int i = 0; i < 25'000; ++i) hashes.push_back(std::to_string(i));
  const auto paths = client_->FetchBlobs(hashes);
  ASSERT_TRUE(paths.ok()) << paths.status();
  EXPECT_EQ((*paths)[24'999], "/24999");
  EXPECT_EQ(host_->fetch_sizes, (std::vector<size_t>{10'000, 10'000, 5'000}));
  EXPECT_TRUE(absl::IsNotFound(client_->FetchBlobs({"missing"}).status()));
  EXPECT_TRUE(client_->FetchBlobs({})->empty());
}

TEST_F(AssignedTaskServerTest, PutsBytesAndFiles) {
  const std::string bytes(3'500'000, 'z');
  const auto stored = client_->PutBytes(bytes);
  ASSERT_TRUE(stored.ok()) << stored.status();
  EXPECT_EQ(stored->hash, Sha256Hex(bytes));
  EXPECT_EQ(stored->size_bytes, 3'500'000);
  EXPECT_TRUE(cache_->Pin(stored->hash, "x").ok());
  const std::string path = testing::TempDir() + "/put";
  std::ofstream(path) << "from a file";
  EXPECT_EQ(client_->PutFile(path)->hash, Sha256Hex("from a file"));
  EXPECT_EQ(client_->PutBytes("")->hash, Sha256Hex(""));
  EXPECT_TRUE(absl::IsNotFound(client_->PutFile("/nowhere").status()));
  EXPECT_TRUE(absl::IsResourceExhausted(client_->PutBytes(std::string(30'000'000, 'y')).status()));
}

TEST_F(AssignedTaskServerTest, SplitsLargeReportsAndRefusesLargeEvents) {
  std::vector<TaskEvent> events(10);
  for (TaskEvent& event : events) event.mutable_finished()->set_reason(std::string(1'000'000, 'r'));
  ASSERT_TRUE(client_->Report(events).ok());
  EXPECT_EQ(host_->events.size(), 10u);
  EXPECT_GT(host_->num_reports, 1);
  events[0].mutable_finished()->set_reason(std::string(4'000'000, 'r'));
  EXPECT_TRUE(absl::IsInvalidArgument(client_->Report(events[0])));
}

TEST_F(AssignedTaskServerTest, PassesThePositionOn) {
  worker::v1::RankPosition position;
  position.set_step(41);
  position.set_doing("waits for a batch");
  ASSERT_TRUE(client_->ReportPosition(position).ok());
  EXPECT_EQ(host_->position.step(), 41);
  EXPECT_EQ(host_->position.doing(), "waits for a batch");
}

TEST_F(AssignedTaskServerTest, DirectivesToldEarlyArriveInOrder) {
  ASSERT_TRUE(server_->Tell(Stop("1")).ok());
  ASSERT_TRUE(server_->Tell(Stop("2")).ok());
  std::string heard;
  absl::Notification early, all;
  DirectiveCallbacks callbacks;
  callbacks.on_stop = [&](const worker::v1::StopDirective& stop) {
    heard += stop.reason();
    if (heard == "12") early.Notify();
    if (heard == "123") all.Notify();
  };
  client_->WatchDirectives(callbacks);
  EXPECT_TRUE(early.WaitForNotificationWithTimeout(absl::Seconds(20)));
  ASSERT_TRUE(server_->Tell(Stop("3")).ok());
  EXPECT_TRUE(all.WaitForNotificationWithTimeout(absl::Seconds(20)));
  client_->StopWatching();
  client_->StopWatching();
}

TEST_F(AssignedTaskServerTest, WaitingDirectivesAreBounded) {
  ASSERT_TRUE(server_->Tell(Stop(std::string(900'000, 'x'))).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(server_->Tell(Stop(std::string(900'000, 'x')))));
}

TEST_F(AssignedTaskServerTest, EndOfTheServerEndsCallsAndIsTold) {
  absl::Notification lost;
  DirectiveCallbacks callbacks;
  callbacks.on_lost = [&](const absl::Status&) { lost.Notify(); };
  client_->WatchDirectives(callbacks);
  absl::Status status;
  std::thread blocked = Blocked(&status);
  server_.reset();
  blocked.join();
  EXPECT_FALSE(status.ok());
  EXPECT_TRUE(lost.WaitForNotificationWithTimeout(absl::Seconds(20)));
  EXPECT_TRUE(absl::IsUnavailable(client_->GetAssignment().status())) << client_->GetAssignment().status();
  host_->kept[0](StoreResponse());  // late, and harmless
}

TEST_F(AssignedTaskServerTest, EndOfTheClientCancelsItsCalls) {
  absl::Status status;
  std::thread blocked = Blocked(&status);
  std::thread closing([this] { client_.reset(); });
  blocked.join();
  closing.join();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
}

TEST(AgentClientTest, RefusesWhatIsNoSocket) {
  int pipe_fds[2];
  ASSERT_EQ(::pipe(pipe_fds), 0);
  EXPECT_TRUE(absl::IsInvalidArgument(AgentClient::Connect(pipe_fds[0]).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(AgentClient::Connect(-1).status()));
}

}  // namespace
}  // namespace ursa
