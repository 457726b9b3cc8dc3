#include "worker/eval/evaluation_task.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "worker/comm/device.h"

namespace ursa {
namespace {

using worker::v1::TaskEvent;
using worker::v1::TaskFinished;

constexpr int kExamplesAtOnce = 16;

Failpoint predicted("task.evaluation.predicted");
Failpoint reported("task.evaluation.reported");

}  // namespace

absl::StatusOr<std::unique_ptr<Predictor>> LoadPredictor(AgentClient* agent, const worker::v1::ModelRef& model,
                                                         at::Device device) {
  URSA_ASSIGN_OR_RETURN(const std::vector<std::string> path, agent->FetchBlobs({model.weights_hash()}));
  URSA_ASSIGN_OR_RETURN(const std::string weights, ReadFile(path.front()));
  return Predictor::Create(model, weights, device);
}

absl::StatusOr<TaskFinished> RunEvaluation(AgentClient* agent, const worker::v1::TaskAssignment& assignment,
                                           const std::string& cuda_plugin) {
  const worker::v1::EvaluateAssignment& evaluate = assignment.evaluate();
  URSA_ASSIGN_OR_RETURN(const std::vector<std::string> ids_path, agent->FetchBlobs({evaluate.examples_hash()}));
  URSA_ASSIGN_OR_RETURN(const std::string ids_bytes, ReadFile(ids_path.front()));
  worker::v1::ExampleIds examples;
  if (!examples.ParseFromString(ids_bytes)) {
    return absl::DataLossError(absl::StrCat("example list ", evaluate.examples_hash(), ": cannot be parsed"));
  }
  const std::vector<std::string> ids(examples.ids().begin(), examples.ids().end());
  URSA_ASSIGN_OR_RETURN(const std::unique_ptr<Accelerator> accelerator,
                        OpenAccelerator(assignment.device(), cuda_plugin));
  URSA_ASSIGN_OR_RETURN(const at::Device device, accelerator->Device(assignment.device_index()));
  URSA_ASSIGN_OR_RETURN(const std::unique_ptr<Predictor> predictor, LoadPredictor(agent, evaluate.model(), device));
  URSA_ASSIGN_OR_RETURN(const std::vector<std::string> paths, agent->FetchBlobs(ids));

  TaskFinished finished;
  for (size_t first = 0; first < ids.size(); first += kExamplesAtOnce) {
    const size_t end = std::min(ids.size(), first + kExamplesAtOnce);
    std::vector<std::string> files;
    for (size_t i = first; i < end; ++i) {
      URSA_ASSIGN_OR_RETURN(std::string bytes, ReadFile(paths[i]));
      files.push_back(std::move(bytes));
    }
    URSA_ASSIGN_OR_RETURN(const std::vector<Predictor::Output> outputs,
                          predictor->Predict(std::vector<std::string_view>(files.begin(), files.end())));
    std::vector<TaskEvent> events(2);
    auto* entries = events[0].mutable_predictions();
    entries->set_artifact_hash(evaluate.artifact_hash());
    entries->set_transform_hash(evaluate.transform_hash());
    for (size_t i = first; i < end; ++i) {
      const Predictor::Output& output = outputs[i - first];
      if (!output.status.ok()) {
        finished.set_outcome(TaskFinished::OUTCOME_USER_ERROR);
        finished.set_reason(absl::StrCat("example ", ids[i], ": ", output.status.message()));
        return finished;
      }
      auto* entry = entries->add_entries();
      entry->set_example_id(ids[i]);
      entry->mutable_logits()->Assign(output.logits.begin(), output.logits.end());
    }
    events[1].mutable_progress()->set_num_done(static_cast<int64_t>(end));
    predicted.Pass();
    URSA_RETURN_IF_ERROR(agent->Report(std::move(events)));
    reported.Pass();
  }
  finished.set_outcome(TaskFinished::OUTCOME_COMPLETED);
  return finished;
}

}  // namespace ursa
