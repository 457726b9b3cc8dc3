// Stands in for ursa-task in tests: speaks to its agent as the assignment's log_name says.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "base/log.h"
#include "worker/agent_client/agent_client.h"

namespace ursa {
namespace {

using worker::v1::StoreRequest;
using worker::v1::TaskEvent;
using worker::v1::TaskFinished;

void Finish(AgentClient* agent, TaskFinished::Outcome outcome, const std::string& reason = "") {
  TaskEvent event;
  event.mutable_finished()->set_outcome(outcome);
  event.mutable_finished()->set_reason(reason);
  URSA_CHECK_OK(agent->Report(event));
}

void SaveCheckpoint(AgentClient* agent, int64_t step, bool last = false) {
  const auto blob = agent->PutBytes(std::string(3'000'000, 'c') + std::to_string(step));
  URSA_CHECK_OK(blob.status());
  TaskEvent event;
  event.mutable_checkpoint()->set_step(step);
  event.mutable_checkpoint()->set_model_blob(blob->hash);
  event.mutable_checkpoint()->set_last(last);
  URSA_CHECK_OK(agent->Report(event));
}

void Fetch(AgentClient* agent, const std::string& hash) {
  const auto paths = agent->FetchBlobs({hash});
  if (!paths.ok()) return Finish(agent, TaskFinished::OUTCOME_FAILED, paths.status().ToString());
  std::ifstream file((*paths)[0]);
  Finish(agent, TaskFinished::OUTCOME_COMPLETED,
         std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()));
}

// Rank 0 gives an address, the others wait for it.
void Meet(AgentClient* agent, int32_t rank) {
  StoreRequest request;
  request.set_timeout_millis(20'000);
  request.set_operation(rank == 0 ? StoreRequest::OPERATION_SET : StoreRequest::OPERATION_GET);
  request.add_keys("address");
  if (rank == 0) request.set_value("127.0.0.1:9");
  const auto response = agent->Rendezvous(request);
  URSA_CHECK_OK(response.status());
  Finish(agent, TaskFinished::OUTCOME_COMPLETED, response->value());
}

void AddOne(AgentClient* agent) {
  StoreRequest request;
  request.set_timeout_millis(20'000);
  request.set_operation(StoreRequest::OPERATION_ADD);
  request.add_keys("ranks");
  request.set_amount(1);
  const auto response = agent->Rendezvous(request);
  Finish(agent, TaskFinished::OUTCOME_COMPLETED,
         response.ok() ? std::to_string(response->number()) : response.status().ToString());
}

// Prints as fast as it can.
void Flood() {
  for (int i = 0; i < 400'000; ++i) {
    const std::string line = absl::StrCat(1'000'000 + i, std::string(92, '.'), "\n");
    // tidy: allow(print) a task's output is its log
    std::fwrite(line.data(), 1, line.size(), stdout);
  }
  // tidy: allow(print) as above
  std::printf("the flood is over\n");
  std::fflush(stdout);
}

int Run(AgentClient* agent) {
  const auto assignment = agent->GetAssignment();
  URSA_CHECK_OK(assignment.status());
  const std::string& script = assignment->log_name();
  // tidy: allow(print) a task's output is its log
  std::printf("running %s rank %d device %d threads %s\n", script.c_str(), assignment->rank(),
              assignment->device_index(), std::getenv("OMP_NUM_THREADS"));
  std::fflush(stdout);
  absl::Notification stopped;
  DirectiveCallbacks callbacks;
  callbacks.on_stop = [&](const worker::v1::StopDirective&) {
    if (!stopped.HasBeenNotified()) stopped.Notify();
  };
  callbacks.on_predict = [&](const worker::v1::PredictInput& input) {
    TaskEvent event;
    event.mutable_predict()->set_call_id(input.call_id());
    for (const std::string& picture : input.pictures())
      event.mutable_predict()->add_answers()->add_probabilities(static_cast<float>(picture.size()));
    URSA_CHECK_OK(agent->Report(event));
  };
  agent->WatchDirectives(callbacks);

  if (script == "train") {
    SaveCheckpoint(agent, 10, true);
    Finish(agent, TaskFinished::OUTCOME_COMPLETED);
  } else if (script == "wait") {
    stopped.WaitForNotification();
    SaveCheckpoint(agent, 5);
    Finish(agent, TaskFinished::OUTCOME_STOPPED);
  } else if (script == "deaf") {
    ::signal(SIGTERM, SIG_IGN);
    for (;;) ::pause();
  } else if (script == "crash") {
    // tidy: allow(print) as above
    std::fprintf(stderr, "about to crash\n");
    std::abort();
  } else if (script == "flood") {
    Flood();
    Finish(agent, TaskFinished::OUTCOME_COMPLETED);
  } else if (script == "count") {
    for (int64_t step = 1;; ++step) {
      TaskEvent event;
      event.mutable_metrics()->add_points()->set_step(step);
      URSA_CHECK_OK(agent->Report(event));
      if (stopped.WaitForNotificationWithTimeout(absl::Milliseconds(2))) break;
    }
    Finish(agent, TaskFinished::OUTCOME_STOPPED);
  } else if (script == "rendezvous") {
    Meet(agent, assignment->rank());
  } else if (script == "add") {
    AddOne(agent);
  } else if (script.rfind("fetch:", 0) == 0) {
    Fetch(agent, script.substr(6));
  } else if (script == "liar") {
    TaskEvent event;
    event.mutable_checkpoint()->set_model_blob(std::string(64, 'a'));
    Finish(agent, TaskFinished::OUTCOME_FAILED, agent->Report(event).ToString());
  } else {
    return 9;
  }
  return 0;
}

}  // namespace
}  // namespace ursa

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--self_check") == 0) return 0;
  int fd = -1;
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::strcmp(argv[i], "--fd") == 0) fd = std::atoi(argv[i + 1]);
    if (std::strcmp(argv[i], "--spare") != 0) continue;
    // tidy: allow(print) a task's output is its log
    std::printf("a spare of kind %s\n", argv[i + 1]);
    std::fflush(stdout);
  }
  auto agent = ursa::AgentClient::Connect(fd);
  URSA_CHECK_OK(agent.status());
  return ursa::Run(agent->get());
}
