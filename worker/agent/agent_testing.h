// An agent with real gRPC on both sides and real processes; the coordinator is a fake behind a real server.
#ifndef URSA_WORKER_AGENT_AGENT_TESTING_H_
#define URSA_WORKER_AGENT_AGENT_TESTING_H_

#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "gtest/gtest.h"
#include "worker/agent/agent.h"
#include "worker/agent/grpc_coordinator_link.h"
#include "worker/agent/testing/fake_coordinator.h"
#include "worker/agent/testing/fake_coordinator_service.h"

namespace ursa {

using Received = FakeCoordinator::Received;
using worker::v1::DesiredState;
using worker::v1::StampedEvent;
using worker::v1::TaskFinished;

inline constexpr char kTestTask[] = "worker/agent/testing/test_task";

inline constexpr int kThreads = 3;  // of every task

inline void AddOrder(DesiredState* desired, const std::string& id, int64_t epoch, const std::string& script,
                     int num_ranks = 1, bool stop = false) {
  auto* order = desired->add_orders();
  order->mutable_assignment()->set_task_id(id);
  order->mutable_assignment()->set_epoch(epoch);
  order->mutable_assignment()->set_log_name(script);
  order->mutable_assignment()->set_threads(kThreads);
  order->set_stop(stop);
  for (int i = 0; i < num_ranks; ++i) {
    order->mutable_assignment()->add_ranks(i);
    order->add_slots(i);
  }
}

// Events of one kind in the order they came.
inline std::vector<StampedEvent> Events(const Received& received, worker::v1::TaskEvent::EventCase kind) {
  std::vector<StampedEvent> found;
  for (const auto& event : received.events) {
    if (event.event().event_case() == kind) found.push_back(event);
  }
  return found;
}
inline int NumExited(const Received& received) {
  return static_cast<int>(Events(received, worker::v1::TaskEvent::kExited).size());
}

// Command lines of living processes that name `word`.
inline std::vector<std::string> ProcessesNaming(const std::string& word) {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const auto line = ReadFile(entry.path().string() + "/cmdline");
    if (line.ok() && absl::StrContains(*line, word) && entry.path().filename() != std::to_string(::getpid()))
      found.push_back(*line);
  }
  return found;
}
inline bool NoneSoon(const std::string& word) {
  for (int i = 0; i < 300 && !ProcessesNaming(word).empty(); ++i)
    absl::SleepFor(absl::Milliseconds(10));  // tidy: allow(sleep-in-test) the end of another's child has no event
  return ProcessesNaming(word).empty();
}

// Spare processes of the agent of this folder.
inline std::set<pid_t> Spares(const std::string& dir) {
  std::set<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const auto line = ReadFile(entry.path().string() + "/cmdline");
    if (line.ok() && absl::StrContains(*line, dir) && absl::StrContains(*line, "--spare"))
      found.insert(std::stoi(entry.path().filename()));
  }
  return found;
}

class AgentTest : public testing::Test {
 protected:
  AgentTest() : dir_(testing::TempDir() + "/agent_" + RandomHex(4)) {
    std::filesystem::create_directories(dir_);
    std::ofstream(dir_ + "/token") << "secret";
    server_ = FakeCoordinatorServer::Start(&coordinator_, "secret");
  }
  ~AgentTest() override {
    if (agent_ != nullptr) {
      EXPECT_TRUE(Finish().ok());
    }
    EXPECT_TRUE(NoneSoon(dir_)) << ProcessesNaming(dir_)[0];
  }

  void StartAgent() {
    GrpcCoordinatorLinkOptions link_options;
    link_options.address = [this] { return server_->address(); };
    link_options.token_file = dir_ + "/token";
    link_ = NewGrpcCoordinatorLink(link_options);
    BlobCache::Options cache_options;
    cache_options.free_bytes_min = 0;
    cache_ = *BlobCache::Open(dir_ + "/cache", cache_options);
    options_.dir = dir_;
    options_.worker_id_file = dir_ + "/worker.id";
    if (options_.task_binary.empty()) options_.task_binary = kTestTask;
    options_.state.reconnect = {absl::Milliseconds(10), absl::Milliseconds(50), 2};
    options_.fetch.retry = options_.upload.retry = options_.spare.retry = options_.state.reconnect;
    options_.spare.threads = kThreads;
    options_.spare.settle = absl::Milliseconds(10);
    worker::v1::Hello hello;
    hello.set_slots(2);
    hello.set_kind("cpu");
    hello.set_incarnation(RandomHex(8));
    agent_ = std::make_unique<Agent>(link_.get(), cache_.get(), Clock::Real(), hello, options_);
    thread_ = std::thread([this] { result_ = agent_->Run(); });
  }
  void Run(const std::string& script, int num_ranks = 1) {
    if (agent_ == nullptr) StartAgent();
    DesiredState desired;
    AddOrder(&desired, "t1.1", 1, script, num_ranks);
    coordinator_.SetDesired(desired);
  }
  bool WaitForRunning(size_t count) {
    return coordinator_.WaitFor([&](const Received& r) { return r.last_heartbeat.size() == count; });
  }
  bool WaitForLog(const std::string& text) {
    return coordinator_.WaitFor([&](const Received& r) {
      for (const auto& event : r.events) {
        if (absl::StrContains(event.event().log().data(), text)) return true;
      }
      return false;
    });
  }
  // Waits for a spare that is not `known`; 0: there is none in time.
  pid_t NextSpare(pid_t known = 0) const {
    for (int i = 0; i < 1000; ++i) {
      const std::set<pid_t> spares = Spares(dir_);
      if (spares.size() == 1 && *spares.begin() != known) return *spares.begin();
      absl::SleepFor(absl::Milliseconds(10));  // tidy: allow(sleep-in-test) a process has no event for its start
    }
    return 0;
  }
  absl::Status Finish() {
    agent_->Shutdown();
    thread_.join();
    agent_.reset();
    return result_;
  }

  const std::string dir_;
  FakeCoordinator coordinator_;
  std::unique_ptr<FakeCoordinatorServer> server_;
  std::unique_ptr<CoordinatorLink> link_;
  std::unique_ptr<BlobCache> cache_;
  Agent::Options options_;
  std::unique_ptr<Agent> agent_;
  std::thread thread_;
  absl::Status result_;
};

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_AGENT_TESTING_H_
