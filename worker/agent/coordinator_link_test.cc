// What every CoordinatorLink promises, shown of the real one and of the fake.
#include "worker/agent/coordinator_link.h"

#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/file.h"
#include "gtest/gtest.h"
#include "worker/agent/grpc_coordinator_link.h"
#include "worker/agent/testing/fake_coordinator.h"
#include "worker/agent/testing/fake_coordinator_link.h"
#include "worker/agent/testing/fake_coordinator_service.h"

namespace ursa {
namespace {

using worker::v1::ConnectRequest;
using worker::v1::ConnectResponse;
using Received = FakeCoordinator::Received;

// Collects what a stream tells.
class Listener {
 public:
  CoordinatorLink::StreamCallbacks Callbacks() {
    return {[this](ConnectResponse message) {
              absl::MutexLock lock(&mu_);
              EXPECT_FALSE(closed_.has_value()) << "a message after the end";
              messages_.push_back(std::move(message));
            },
            [this](const absl::Status& status) {
              absl::MutexLock lock(&mu_);
              EXPECT_FALSE(closed_.has_value()) << "closed twice";
              closed_ = status;
            }};
  }
  bool WaitForMessages(size_t count) {
    absl::MutexLock lock(&mu_);
    auto there = [&] { return messages_.size() >= count; };
    return mu_.AwaitWithTimeout(absl::Condition(&there), absl::Seconds(20));
  }
  absl::Status WaitForEnd() {
    absl::MutexLock lock(&mu_);
    auto ended = [this] { return closed_.has_value(); };
    if (!mu_.AwaitWithTimeout(absl::Condition(&ended), absl::Seconds(20))) return absl::OkStatus();
    return *closed_;
  }
  std::vector<ConnectResponse> messages() {
    absl::MutexLock lock(&mu_);
    return messages_;
  }

 private:
  absl::Mutex mu_;
  std::vector<ConnectResponse> messages_;
  std::optional<absl::Status> closed_;
};

enum class Kind { kGrpc, kFake };

class CoordinatorLinkTest : public testing::TestWithParam<Kind> {
 protected:
  CoordinatorLinkTest() {
    if (GetParam() == Kind::kFake) {
      link_ = NewFakeCoordinatorLink(&coordinator_);
      return;
    }
    server_ = FakeCoordinatorServer::Start(&coordinator_, "secret");
    const std::string token_file = testing::TempDir() + "/token_" + RandomHex(4);
    std::ofstream(token_file) << "secret\n";
    GrpcCoordinatorLinkOptions options;
    options.address = [this] { return server_->address(); };
    options.token_file = token_file;
    link_ = NewGrpcCoordinatorLink(options);
  }

  std::unique_ptr<CoordinatorLink::Stream> ConnectAndGreet(Listener* listener) {
    auto stream = link_->Connect(listener->Callbacks());
    ConnectRequest request;
    request.mutable_hello()->set_incarnation("i1");
    stream->Send(request);
    EXPECT_TRUE(listener->WaitForMessages(2));
    return stream;
  }
  std::string File(const std::string& bytes) {
    const std::string path = testing::TempDir() + "/file_" + RandomHex(8);
    std::ofstream(path) << bytes;
    return path;
  }
  absl::StatusOr<std::string> Download(const std::string& hash, int64_t offset = 0) {
    std::string bytes;
    const absl::Status status = link_->Download(hash, offset, [&](std::string_view piece) {
      bytes.append(piece);
      return absl::OkStatus();
    });
    if (!status.ok()) return status;
    return bytes;
  }

  FakeCoordinator coordinator_;
  std::unique_ptr<FakeCoordinatorServer> server_;
  std::unique_ptr<CoordinatorLink> link_;
};

TEST_P(CoordinatorLinkTest, MessagesArriveInOrderBothWays) {
  Listener listener;
  auto stream = ConnectAndGreet(&listener);
  EXPECT_TRUE(listener.messages()[0].has_welcome());
  EXPECT_TRUE(listener.messages()[1].has_desired());
  for (int i = 1; i <= 200; ++i) {
    ConnectRequest request;
    request.mutable_events()->set_sequence(i);
    request.mutable_events()->add_events()->set_task_id(absl::StrCat("t", i));
    stream->Send(request);
  }
  ASSERT_TRUE(listener.WaitForMessages(202));
  for (int i = 1; i <= 200; ++i) EXPECT_EQ(listener.messages()[i + 1].ack().sequence(), i);
  EXPECT_EQ(coordinator_.received().events[199].task_id(), "t200");
}

TEST_P(CoordinatorLinkTest, BrokenStreamEndsOnceAndAnotherCanBeOpened) {
  Listener first, second;
  auto stream = ConnectAndGreet(&first);
  coordinator_.BreakStreams();
  EXPECT_TRUE(absl::IsUnavailable(first.WaitForEnd())) << first.WaitForEnd();
  stream->Send(ConnectRequest());  // goes nowhere
  stream = ConnectAndGreet(&second);
  EXPECT_EQ(coordinator_.received().hellos.size(), 2u);
}

TEST_P(CoordinatorLinkTest, ClosingTellsTheEnd) {
  Listener listener;
  auto stream = ConnectAndGreet(&listener);
  stream->Close();
  EXPECT_FALSE(listener.WaitForEnd().ok());
  stream.reset();
  Listener other;
  ConnectAndGreet(&other).reset();
  EXPECT_FALSE(other.WaitForEnd().ok()) << "told before the destructor returns";
}

TEST_P(CoordinatorLinkTest, AwayCoordinatorIsUnavailable) {
  coordinator_.SetAway(true);
  Listener listener;
  auto stream = link_->Connect(listener.Callbacks());
  stream->Send(ConnectRequest());
  EXPECT_TRUE(absl::IsUnavailable(listener.WaitForEnd())) << listener.WaitForEnd();
  const std::string hash = Sha256Hex("x");
  EXPECT_TRUE(absl::IsUnavailable(Download(hash).status())) << Download(hash).status();
  EXPECT_TRUE(absl::IsUnavailable(link_->FindMissing({hash}).status()));
  EXPECT_TRUE(absl::IsUnavailable(link_->Upload(hash, File("x"))));
}

TEST_P(CoordinatorLinkTest, RefusalKeepsItsCode) {
  coordinator_.RefuseStreams(absl::FailedPreconditionError("another agent is connected"));
  Listener listener;
  auto stream = link_->Connect(listener.Callbacks());
  EXPECT_TRUE(absl::IsFailedPrecondition(listener.WaitForEnd())) << listener.WaitForEnd();
}

TEST_P(CoordinatorLinkTest, DownloadsFromAnOffset) {
  Listener listener;
  auto stream = ConnectAndGreet(&listener);
  const std::string bytes(3'000'000, 'x');
  const std::string hash = coordinator_.AddBlob(bytes + "end");
  EXPECT_EQ(*Download(hash), bytes + "end");
  EXPECT_EQ(*Download(hash, 3'000'000), "end");
  EXPECT_EQ(*Download(hash, 3'000'003), "");
  EXPECT_TRUE(absl::IsNotFound(Download(Sha256Hex("other")).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Download("no hash").status()));
  EXPECT_TRUE(absl::IsOutOfRange(Download(hash, 4'000'000).status()));
  const absl::Status status = link_->Download(hash, 0, [](std::string_view) { return absl::AbortedError("enough"); });
  EXPECT_TRUE(absl::IsAborted(status)) << status;
}

TEST_P(CoordinatorLinkTest, UploadsWhatIsMissing) {
  Listener listener;
  auto stream = ConnectAndGreet(&listener);
  const std::string bytes(2'500'000, 'y');
  const std::string hash = Sha256Hex(bytes);
  const std::string there = coordinator_.AddBlob("there");
  EXPECT_EQ(*link_->FindMissing({there, hash}), std::vector<std::string>{hash});
  ASSERT_TRUE(link_->Upload(hash, File(bytes)).ok());
  EXPECT_EQ(coordinator_.received().blobs[hash], bytes);
  EXPECT_TRUE(link_->Upload(hash, File(bytes)).ok()) << "again is fine";
  EXPECT_TRUE(link_->Upload(Sha256Hex(""), File("")).ok());
  EXPECT_TRUE(absl::IsDataLoss(link_->Upload(Sha256Hex("a"), File("b"))));
  EXPECT_TRUE(absl::IsNotFound(link_->Upload(Sha256Hex("c"), "/nowhere")));
}

TEST_P(CoordinatorLinkTest, InterruptedUploadGoesOn) {
  Listener listener;
  auto stream = ConnectAndGreet(&listener);
  const std::string bytes = std::string(1'500'000, 'a') + std::string(1'000'000, 'b');
  const std::string hash = Sha256Hex(bytes);
  coordinator_.CutUploads(700'000);
  EXPECT_TRUE(absl::IsUnavailable(link_->Upload(hash, File(bytes))));
  EXPECT_EQ(*coordinator_.UploadOffset(hash), 700'000);
  EXPECT_TRUE(link_->Upload(hash, File(bytes)).ok());
  EXPECT_EQ(coordinator_.received().blobs[hash], bytes);
}

TEST_P(CoordinatorLinkTest, StoppedLinkCancelsBlobCalls) {
  Listener listener;
  auto stream = ConnectAndGreet(&listener);
  link_->Stop();
  EXPECT_TRUE(absl::IsCancelled(Download(Sha256Hex("x")).status()));
  EXPECT_TRUE(absl::IsCancelled(link_->FindMissing({}).status()));
}

INSTANTIATE_TEST_SUITE_P(Links, CoordinatorLinkTest, testing::Values(Kind::kGrpc, Kind::kFake),
                         [](const auto& info) { return info.param == Kind::kGrpc ? "Grpc" : "Fake"; });

// So that heartbeats do not wait behind a checkpoint on a slow link.
TEST(GrpcCoordinatorLinkTest, BlobsHaveOneConnectionOfTheirOwn) {
  FakeCoordinator coordinator;
  const auto server = FakeCoordinatorServer::Start(&coordinator, "secret");
  const std::string token_file = testing::TempDir() + "/token_" + RandomHex(4);
  std::ofstream(token_file) << "secret\n";
  GrpcCoordinatorLinkOptions options;
  options.address = [&] { return server->address(); };
  options.token_file = token_file;
  const auto link = NewGrpcCoordinatorLink(options);
  Listener listener;
  const auto stream = link->Connect(listener.Callbacks());
  ConnectRequest request;
  request.mutable_hello()->set_incarnation("i1");
  stream->Send(request);
  ASSERT_TRUE(listener.WaitForMessages(2));
  EXPECT_EQ(server->num_connections(), 1u);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(link->FindMissing({}).ok());
    EXPECT_EQ(server->num_connections(), 2u);
  }
}

TEST(GrpcCoordinatorLinkTest, WrongTokenMissingAddressAndDeafServerAreTold) {
  FakeCoordinator coordinator;
  auto server = FakeCoordinatorServer::Start(&coordinator, "secret");
  GrpcCoordinatorLinkOptions options;
  absl::StatusOr<std::string> address = server->address();
  options.address = [&] { return address; };
  auto link = NewGrpcCoordinatorLink(options);
  Listener wrong, missing, deaf;
  auto stream = link->Connect(wrong.Callbacks());
  EXPECT_TRUE(absl::IsUnauthenticated(wrong.WaitForEnd())) << wrong.WaitForEnd();
  address = absl::NotFoundError("file \"address\": not there");
  stream = link->Connect(missing.Callbacks());
  EXPECT_TRUE(absl::IsUnavailable(missing.WaitForEnd())) << missing.WaitForEnd();
  address = "127.0.0.1:1";
  stream = link->Connect(deaf.Callbacks());
  EXPECT_TRUE(absl::IsUnavailable(deaf.WaitForEnd())) << deaf.WaitForEnd();
}

}  // namespace
}  // namespace ursa
