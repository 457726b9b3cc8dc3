#include <cstring>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/crash/process.h"
#include "tests/crash/subjects.h"

namespace ursa::crash {
namespace {

using Stub = v1::ExperimentService::Stub;
using Points = std::map<std::pair<std::string, int64_t>, double>;

constexpr absl::Duration kPoll = absl::Milliseconds(60);

absl::StatusOr<v1::Experiment> Get(Api* api, const std::string& resource) {
  v1::GetExperimentRequest request;
  request.set_name(resource);
  return api->Call(api->experiments, &Stub::GetExperiment, request);
}

bool HasEnded(const v1::Experiment& experiment) {
  return experiment.state() == v1::Experiment::STATE_COMPLETED || experiment.state() == v1::Experiment::STATE_ERROR ||
         experiment.state() == v1::Experiment::STATE_CANCELED;
}

// All points but those that measure time.
absl::StatusOr<Points> ReadPoints(Api* api, const std::string& resource) {
  v1::ListMetricPointsRequest request;
  request.set_parent(resource);
  URSA_ASSIGN_OR_RETURN(const std::vector<v1::MetricPoint> all,
                        (api->Pages<v1::MetricPoint>(api->experiments, &Stub::ListMetricPoints, request,
                                                     &v1::ListMetricPointsResponse::mutable_points)));
  const std::set<std::string> compared = {"train_loss", "valid_loss", "error_rate", "accuracy"};
  Points points;
  for (const v1::MetricPoint& point : all) {
    if (compared.count(point.name())) points[{point.name(), point.step()}] = point.value();
  }
  return points;
}

// Empty if both are the same to the bit.
std::string Difference(const Points& is, const Points& must) {
  for (const auto& [key, value] : must) {
    const auto found = is.find(key);
    if (found == is.end()) return absl::StrCat(key.first, " at step ", key.second, " is missing");
    if (std::memcmp(&found->second, &value, sizeof(value)) != 0) {
      return absl::StrCat(key.first, " at step ", key.second, " is ", found->second, ", undisturbed it was ", value);
    }
  }
  return is.size() == must.size() ? "" : absl::StrCat("has ", is.size() - must.size(), " points too many");
}

class TrainingSubject : public Subject {
 public:
  TrainingSubject(const Lesson& lesson, Names* names) : Subject(names->Next("training")), lesson_(lesson) {
    v1::CreateExperimentRequest request;
    *request.mutable_spec() = lesson_.spec;
    request.mutable_spec()->set_name(name());
    create_ = MakeChange<Stub, v1::CreateExperimentRequest, v1::Experiment>(
        &Api::experiments, &Stub::CreateExperiment, request, names->Next("request"), &tally_,
        [this](const v1::Experiment& created) { resource_ = created.name(); });
  }

  absl::Status Step(Api* api, Rng*) override {
    if (resource_.empty()) return SendCounted(create_, api).status();
    const absl::StatusOr<v1::Experiment> now = Get(api, resource_);
    if (MayHaveHappened(now.status())) return now.status();
    if (!now.ok()) return Finding(now.status().ToString());
    if (!HasEnded(*now)) {
      LetPass(kPoll);
      return absl::OkStatus();
    }
    if (now->state() != v1::Experiment::STATE_COMPLETED) {
      return Finding(
          absl::StrCat(resource_, " ended as ", v1::Experiment::State_Name(now->state()), ": ", now->reason()));
    }
    URSA_RETURN_IF_ERROR(ComparePoints(api));
    is_done_ = true;
    return absl::OkStatus();
  }

  // An unknown call is sent again by the next step, with its request id.
  absl::Status Check(Api* api, Rng*) override {
    URSA_ASSIGN_OR_RETURN(
        const std::vector<v1::Experiment> all,
        (api->Pages<v1::Experiment>(api->experiments, &Stub::ListExperiments, v1::ListExperimentsRequest(),
                                    &v1::ListExperimentsResponse::mutable_experiments)));
    int num_found = 0;
    for (const v1::Experiment& experiment : all) {
      if (experiment.spec().name() != name()) continue;
      ++num_found;
      if (is_done_ && experiment.state() != v1::Experiment::STATE_COMPLETED) return Finding("is no longer complete");
    }
    if (num_found > 1 || (num_found == 0 && !resource_.empty())) {
      return Finding(absl::StrCat("there are ", num_found, " of it"));
    }
    return is_done_ ? ComparePoints(api) : absl::OkStatus();
  }

  bool IsDone() const override { return is_done_; }

  void AddAudit(std::map<std::string, int>* expected) const override {
    if (!resource_.empty()) ++(*expected)[AuditKey("experiment.create", resource_)];
  }

 private:
  absl::Status ComparePoints(Api* api) const {
    URSA_ASSIGN_OR_RETURN(const Points points, ReadPoints(api, resource_));
    const std::string difference = Difference(points, lesson_.points);
    return difference.empty() ? absl::OkStatus() : Finding(absl::StrCat(resource_, ": ", difference));
  }

  const Lesson& lesson_;
  Send create_;
  std::string resource_;
  bool is_done_ = false;
};

}  // namespace

std::unique_ptr<Subject> NewTrainingSubject(const Lesson& lesson, Names* names) {
  return std::make_unique<TrainingSubject>(lesson, names);
}

absl::StatusOr<std::string> TrainUndisturbed(Api* api, Lesson* lesson, Names* names) {
  v1::CreateExperimentRequest request;
  *request.mutable_spec() = lesson->spec;
  request.mutable_spec()->set_name(names->Next("undisturbed"));
  request.set_request_id(names->Next("request"));
  URSA_ASSIGN_OR_RETURN(v1::Experiment now, api->Call(api->experiments, &Stub::CreateExperiment, request));
  while (!HasEnded(now)) {
    LetPass(kPoll);
    URSA_ASSIGN_OR_RETURN(now, Get(api, now.name()));
  }
  if (now.state() != v1::Experiment::STATE_COMPLETED || now.restarts() != 0) {
    return absl::InternalError(absl::StrCat(now.name(), " ended as ", v1::Experiment::State_Name(now.state()),
                                            " after ", now.restarts(), " restarts: ", now.reason()));
  }
  URSA_ASSIGN_OR_RETURN(lesson->points, ReadPoints(api, now.name()));
  if (lesson->points.empty()) return absl::InternalError(now.name() + ": no metric points");
  return now.name();
}

}  // namespace ursa::crash
