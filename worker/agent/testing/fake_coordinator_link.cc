#include "worker/agent/testing/fake_coordinator_link.h"

#include <atomic>
#include <deque>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "base/file.h"
#include "base/status_macros.h"

namespace ursa {
namespace {

// What both threads of a stream share: the coordinator may speak into it after the agent has gone.
struct Channel {
  absl::Mutex mu;
  std::deque<worker::v1::ConnectResponse> inbox ABSL_GUARDED_BY(mu);
  std::optional<absl::Status> closed ABSL_GUARDED_BY(mu);

  void Close(const absl::Status& status) {
    absl::MutexLock lock(&mu);
    if (!closed.has_value()) closed = status;
  }
};

class FakeStream final : public CoordinatorLink::Stream {
 public:
  FakeStream(FakeCoordinator* coordinator, CoordinatorLink::StreamCallbacks callbacks)
      : coordinator_(coordinator), callbacks_(std::move(callbacks)) {
    id_ = coordinator_->Attach({[channel = channel_](worker::v1::ConnectResponse message) {
                                  absl::MutexLock lock(&channel->mu);
                                  channel->inbox.push_back(std::move(message));
                                },
                                [channel = channel_](const absl::Status& status) { channel->Close(status); }});
    thread_ = std::thread([this] { Deliver(); });
  }

  ~FakeStream() override {
    Close();
    thread_.join();
  }

  void Send(worker::v1::ConnectRequest message) override { coordinator_->OnRequest(id_, message); }

  void Close() override {
    coordinator_->Detach(id_);
    channel_->Close(absl::CancelledError("fake link: closed"));
  }

 private:
  void Deliver() {
    for (;;) {
      std::optional<worker::v1::ConnectResponse> message;
      absl::Status status;
      {
        absl::MutexLock lock(&channel_->mu);
        auto due = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
          return !channel_->inbox.empty() || channel_->closed.has_value();
        };
        channel_->mu.Await(absl::Condition(&due));
        if (channel_->inbox.empty()) {
          status = *channel_->closed;
        } else {
          message = std::move(channel_->inbox.front());
          channel_->inbox.pop_front();
        }
      }
      if (!message.has_value()) return callbacks_.on_closed(status);
      callbacks_.on_message(*std::move(message));
    }
  }

  FakeCoordinator* const coordinator_;
  const CoordinatorLink::StreamCallbacks callbacks_;
  const std::shared_ptr<Channel> channel_ = std::make_shared<Channel>();
  int64_t id_ = 0;
  std::thread thread_;
};

class FakeCoordinatorLink final : public CoordinatorLink {
 public:
  explicit FakeCoordinatorLink(FakeCoordinator* coordinator) : coordinator_(coordinator) {}

  std::unique_ptr<Stream> Connect(StreamCallbacks callbacks) override {
    return std::make_unique<FakeStream>(coordinator_, std::move(callbacks));
  }

  absl::Status Download(const std::string& hash, int64_t offset,
                        const std::function<absl::Status(std::string_view)>& sink) override {
    URSA_RETURN_IF_ERROR(CheckRunning());
    URSA_ASSIGN_OR_RETURN(const std::string bytes, coordinator_->Download(hash, offset));
    URSA_RETURN_IF_ERROR(sink(bytes));
    return offset + bytes.size() < coordinator_->received().blobs[hash].size()
               ? absl::UnavailableError("fake link: the download broke")
               : absl::OkStatus();
  }

  absl::StatusOr<std::vector<std::string>> FindMissing(const std::vector<std::string>& hashes) override {
    URSA_RETURN_IF_ERROR(CheckRunning());
    return coordinator_->FindMissing(hashes);
  }

  absl::Status Upload(const std::string& hash, const std::string& path) override {
    URSA_RETURN_IF_ERROR(CheckRunning());
    URSA_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
    const absl::StatusOr<int64_t> offset = coordinator_->UploadOffset(hash);
    if (absl::IsAlreadyExists(offset.status())) return absl::OkStatus();
    URSA_RETURN_IF_ERROR(offset.status());
    return coordinator_->Upload(hash, bytes.size(), *offset, std::string_view(bytes).substr(*offset));
  }

  void Stop() override { stopped_ = true; }

 private:
  absl::Status CheckRunning() const { return stopped_ ? absl::CancelledError("fake link: stopped") : absl::OkStatus(); }

  FakeCoordinator* const coordinator_;
  std::atomic<bool> stopped_{false};
};

}  // namespace

std::unique_ptr<CoordinatorLink> NewFakeCoordinatorLink(FakeCoordinator* coordinator) {
  return std::make_unique<FakeCoordinatorLink>(coordinator);
}

}  // namespace ursa
