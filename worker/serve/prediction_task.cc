#include "worker/serve/prediction_task.h"

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/status_macros.h"
#include "worker/eval/evaluation_task.h"
#include "worker/eval/predictor.h"

namespace ursa {
namespace {

using worker::v1::PredictInput;
using worker::v1::TaskEvent;

// Calls on their way from the directive thread to the predicting one.
struct Inbox {
  absl::Mutex mu;
  std::deque<PredictInput> calls ABSL_GUARDED_BY(mu);
  bool stop ABSL_GUARDED_BY(mu) = false;

  bool HasNews() const ABSL_SHARED_LOCKS_REQUIRED(mu) { return stop || !calls.empty(); }
};

absl::StatusOr<TaskEvent> Answer(Predictor* predictor, const PredictInput& call) {
  const std::vector<std::string_view> pictures(call.pictures().begin(), call.pictures().end());
  URSA_ASSIGN_OR_RETURN(const std::vector<Predictor::Output> outputs, predictor->Predict(pictures));
  TaskEvent event;
  event.mutable_predict()->set_call_id(call.call_id());
  for (const Predictor::Output& output : outputs) {
    auto* answer = event.mutable_predict()->add_answers();
    if (!output.status.ok()) {
      answer->set_error(std::string(output.status.message()));
      continue;
    }
    for (const double p : Softmax(output.logits)) answer->add_probabilities(static_cast<float>(p));
  }
  return event;
}

absl::Status AnswerUntilStopped(AgentClient* agent, const worker::v1::PredictAssignment& predict, Inbox* inbox) {
  URSA_ASSIGN_OR_RETURN(const std::unique_ptr<Predictor> predictor, LoadPredictor(agent, predict.model()));
  for (;;) {
    PredictInput call;
    {
      absl::MutexLock lock(&inbox->mu);
      inbox->mu.Await(absl::Condition(inbox, &Inbox::HasNews));
      if (inbox->calls.empty()) return absl::OkStatus();
      call = std::move(inbox->calls.front());
      inbox->calls.pop_front();
    }
    URSA_ASSIGN_OR_RETURN(TaskEvent answer, Answer(predictor.get(), call));
    URSA_RETURN_IF_ERROR(agent->Report(std::move(answer)));
  }
}

}  // namespace

absl::StatusOr<worker::v1::TaskFinished> RunPrediction(AgentClient* agent,
                                                       const worker::v1::PredictAssignment& predict) {
  Inbox inbox;
  DirectiveCallbacks callbacks;
  callbacks.on_stop = [&inbox](const worker::v1::StopDirective&) {
    absl::MutexLock lock(&inbox.mu);
    inbox.stop = true;
  };
  callbacks.on_predict = [&inbox](PredictInput input) {
    absl::MutexLock lock(&inbox.mu);
    inbox.calls.push_back(std::move(input));
  };
  agent->WatchDirectives(std::move(callbacks));
  const absl::Status status = AnswerUntilStopped(agent, predict, &inbox);
  agent->StopWatching();  // no callback may touch the inbox any more
  URSA_RETURN_IF_ERROR(status);
  worker::v1::TaskFinished finished;
  finished.set_outcome(worker::v1::TaskFinished::OUTCOME_STOPPED);
  return finished;
}

}  // namespace ursa
