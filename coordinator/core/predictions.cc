#include "coordinator/core/predictions.h"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/status_macros.h"
#include "coordinator/core/evaluations.h"
#include "coordinator/core/registry.h"

namespace ursa {
namespace {

constexpr int kPicturesMax = 64;
constexpr size_t kPictureBytesMax = size_t{64} << 20;
constexpr size_t kRequestIdBytes = 12;

absl::Status CheckRequest(const v1::PredictRequest& request) {
  if (request.pictures().empty()) return absl::InvalidArgumentError("predict: no picture was sent");
  if (request.pictures_size() > kPicturesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("predict: ", request.pictures_size(), " pictures, at most ", kPicturesMax, " are allowed"));
  }
  for (const v1::Picture& picture : request.pictures()) {
    if (picture.data().size() > kPictureBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat("predict: \"", picture.file(), "\" has ", picture.data().size(),
                                                     " bytes, at most ", kPictureBytesMax, " are allowed"));
    }
  }
  return absl::OkStatus();
}

std::string VersionKey(const records::ModelVersionRecord& record) {
  return RecordId(EntityTraits<records::ModelVersionRecord>::KeyOf(record));
}

// Labels and probabilities for a call's pictures. INTERNAL: the process has answered something else.
absl::StatusOr<v1::PredictResponse> ToResponse(const v1::PredictRequest& request,
                                               const records::ModelVersionRecord& model,
                                               const worker::v1::PredictOutput& output) {
  if (output.answers_size() != request.pictures_size()) {
    return absl::InternalError(absl::StrCat("predict: ", request.pictures_size(), " pictures were asked, ",
                                            output.answers_size(), " answers came"));
  }
  const v1::ModelVersion& version = model.version();
  v1::PredictResponse response;
  for (int i = 0; i < output.answers_size(); ++i) {
    const auto& answer = output.answers(i);
    v1::Prediction* prediction = response.add_predictions();
    prediction->set_file(request.pictures(i).file());
    prediction->set_model_version(version.version());
    prediction->set_request_id("r" + RandomHex(kRequestIdBytes));
    if (!answer.error().empty()) {
      prediction->set_error(answer.error());
      continue;
    }
    if (answer.probabilities_size() != version.classes_size()) {
      return absl::InternalError(absl::StrCat("predict: ", answer.probabilities_size(), " probabilities came for ",
                                              version.classes_size(), " classes"));
    }
    const auto best = std::max_element(answer.probabilities().begin(), answer.probabilities().end());
    prediction->set_label(version.classes(static_cast<int>(best - answer.probabilities().begin())));
    for (int c = 0; c < version.classes_size(); ++c) {
      (*prediction->mutable_probabilities())[version.classes(c)] = static_cast<double>(answer.probabilities(c));
    }
  }
  return response;
}

}  // namespace

void Predictions::Predict(const v1::PredictRequest& request, Done<v1::PredictResponse> done) {
  const absl::Status valid = CheckRequest(request);
  if (!valid.ok()) return done(valid);
  Tx tx(env_.commit);
  const absl::Status accepted = [&]() -> absl::Status {
    URSA_ASSIGN_OR_RETURN(const records::ModelVersionRecord* model, Registry::FindVersion(tx, request.model()));
    if (is_shut_down_) return absl::UnavailableError("predict: the coordinator ends");
    if (!aux_tasks_.HasWorker(tx)) {
      return absl::UnavailableError(absl::StrCat("predict with ", model->version().name(), ": there is no worker"));
    }
    const std::string key = VersionKey(*model);
    Process& process = processes_[key];
    if (process.num_calls >= env_.options.prediction_calls_max) {
      return absl::ResourceExhaustedError(
          absl::StrCat("predict with ", model->version().name(), ": ", process.num_calls, " calls wait already"));
    }
    if (process.task_id == 0) {
      records::AuxTaskRecord task;
      task.set_model_version(key);
      task.mutable_assignment()->set_device("cpu");
      *task.mutable_assignment()->mutable_predict()->mutable_model() = ToModelRef(*model);
      process.task_id = aux_tasks_.Add(tx, std::move(task));
    }
    ++process.num_calls;
    process.last_used = env_.clock->Now();
    Call call;
    call.model_version = key;
    call.request = request;
    call.deadline = env_.clock->Now() + env_.options.prediction_timeout;
    call.done = done;
    calls_[++last_call_id_] = std::move(call);
    tx.RequestSettle();
    return absl::OkStatus();
  }();
  if (!accepted.ok()) tx.AfterDurable([done, accepted] { done(accepted); });
}

void Predictions::MakeRoom(Tx& tx) {
  // Only if a process waits for a place: then the longest idle one goes.
  bool someone_waits = false;
  std::string idlest;
  for (const auto& [key, process] : processes_) {
    const auto* task = tx.state().Find<records::AuxTaskRecord>(process.task_id);
    if (task == nullptr) continue;
    if (task->worker_id() == 0) {
      someone_waits = true;
    } else if (process.num_calls == 0 && (idlest.empty() || process.last_used < processes_[idlest].last_used)) {
      idlest = key;
    }
  }
  if (!someone_waits || idlest.empty()) return;
  aux_tasks_.Drop(tx, processes_[idlest].task_id);
  processes_.erase(idlest);
}

void Predictions::Settle(Tx& tx) {
  if (calls_.empty()) return;
  MakeRoom(tx);
  for (auto& [call_id, call] : calls_) {
    if (call.sent_epoch != 0) continue;
    const Process& process = processes_[call.model_version];
    const int64_t task_id = process.task_id;
    const auto* task = tx.state().Find<records::AuxTaskRecord>(task_id);
    if (task == nullptr || task->worker_id() == 0 || process.alive_epoch != task->epoch()) continue;
    if (!workers_.IsConnected(task->worker_id())) continue;
    call.sent_epoch = task->epoch();
    worker::v1::ConnectResponse message;
    worker::v1::PredictCall* predict = message.mutable_predict();
    predict->set_task_id(AuxTaskName(task_id));
    predict->set_epoch(task->epoch());
    predict->mutable_input()->set_call_id(call_id);
    for (const v1::Picture& picture : call.request.pictures()) predict->mutable_input()->add_pictures(picture.data());
    workers_.Send(tx, task->worker_id(), std::move(message));
  }
}

void Predictions::OnAlive(Tx& tx, const worker::v1::TaskStatus& status) {
  for (auto& [key, process] : processes_) {
    if (AuxTaskName(process.task_id) != status.task_id() || process.alive_epoch == status.epoch()) continue;
    process.alive_epoch = status.epoch();
    tx.RequestSettle();
  }
}

void Predictions::OnReconnected(Tx& tx, int64_t worker_id) {
  for (auto& [call_id, call] : calls_) {
    const auto* task = tx.state().Find<records::AuxTaskRecord>(processes_[call.model_version].task_id);
    if (task != nullptr && task->worker_id() == worker_id) call.sent_epoch = 0;
  }
}

void Predictions::Finish(Tx& tx, int64_t call_id, absl::StatusOr<v1::PredictResponse> response) {
  const auto it = calls_.find(call_id);
  if (it == calls_.end()) return;
  const auto process = processes_.find(it->second.model_version);
  if (process != processes_.end()) {
    --process->second.num_calls;
    process->second.last_used = env_.clock->Now();
  }
  tx.AfterDurable([done = std::move(it->second.done), response = std::move(response)] { done(response); });
  calls_.erase(it);
}

void Predictions::OnReport(Tx& tx, const worker::v1::PredictOutput& output) {
  const auto it = calls_.find(output.call_id());
  if (it == calls_.end()) return;  // it has timed out
  const std::string& key = it->second.model_version;
  const size_t slash = key.find('/');
  const auto* model = tx.state().Find<records::ModelVersionRecord>(
      NamedNumberKey(key.substr(0, slash), std::stoll(key.substr(slash + 1))));
  Finish(tx, output.call_id(), ToResponse(it->second.request, *model, output));
}

void Predictions::OnTaskEnd(Tx& tx, const records::AuxTaskRecord& task, const absl::Status& status) {
  const auto process = processes_.find(task.model_version());
  if (process == processes_.end() || process->second.task_id != task.id()) return;
  std::vector<int64_t> orphans;
  for (const auto& [call_id, call] : calls_) {
    if (call.model_version == task.model_version()) orphans.push_back(call_id);
  }
  const absl::Status told =
      status.ok()
          ? absl::UnavailableError("predict: the process was stopped")
          : absl::Status(absl::IsAborted(status) ? absl::StatusCode::kUnavailable : status.code(),
                         absl::StrCat("predict with ", task.model_version(), ": ", std::string(status.message())));
  for (const int64_t call_id : orphans) Finish(tx, call_id, told);
  processes_.erase(task.model_version());
}

void Predictions::Shutdown(Tx& tx) {
  is_shut_down_ = true;
  while (!calls_.empty()) Finish(tx, calls_.begin()->first, absl::UnavailableError("predict: the coordinator ends"));
}

void Predictions::Tick(Tx& tx) {
  const absl::Time now = env_.clock->Now();
  std::vector<int64_t> late;
  for (const auto& [call_id, call] : calls_) {
    if (call.deadline <= now) late.push_back(call_id);
  }
  for (const int64_t call_id : late) {
    Finish(
        tx, call_id,
        absl::DeadlineExceededError(absl::StrCat("predict with ", calls_[call_id].model_version, ": no answer within ",
                                                 absl::FormatDuration(env_.options.prediction_timeout))));
  }
  std::vector<std::string> idle;
  for (const auto& [key, process] : processes_) {
    if (process.num_calls == 0 && now - process.last_used >= env_.options.prediction_idle) idle.push_back(key);
  }
  for (const std::string& key : idle) {
    aux_tasks_.Drop(tx, processes_[key].task_id);
    processes_.erase(key);
  }
}

void Predictions::Restore(Tx& tx) {
  std::vector<int64_t> orphans;
  for (const auto& [id, task] : tx.state().All<records::AuxTaskRecord>()) {
    if (task.assignment().has_predict()) orphans.push_back(id);
  }
  for (const int64_t id : orphans) aux_tasks_.Drop(tx, id);
}

}  // namespace ursa
