#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/crash/subjects.h"

namespace ursa::crash {
namespace {

using State = v1::Experiment;
using Stub = v1::ExperimentService::Stub;

constexpr int kStepsMax = 12;

class ExperimentSubject : public Subject {
 public:
  ExperimentSubject(const v1::ExperimentSpec& spec, Names* names)
      : Subject(names->Next("experiment")), spec_(spec), names_(*names) {
    spec_.set_name(name());
  }

  absl::Status Step(Api* api, Rng* rng) override {
    Plan(rng);
    const absl::Status status = pending_->send(api);
    if (status.ok()) {
      ++tally_.num_acknowledged;
      Happened();
    } else if (MayHaveHappened(status)) {
      ++tally_.num_unknown;
    } else {
      return Finding(absl::StrCat(pending_->action, ": ", status.ToString()));
    }
    return status;
  }

  absl::Status Check(Api* api, Rng* rng) override {
    if (pending_.has_value()) URSA_RETURN_IF_ERROR(Settle(api, rng));
    if (resource_.empty()) return absl::OkStatus();
    URSA_ASSIGN_OR_RETURN(const State now, Get(api));
    if (now.state() != state_ || now.spec().name() != name()) {
      return Finding(absl::StrCat(resource_, " must be ", State::State_Name(state_), ", is ",
                                  State::State_Name(now.state()), " of the name ", now.spec().name()));
    }
    return absl::OkStatus();
  }

  bool IsDone() const override { return state_ == State::STATE_CANCELED && !pending_.has_value(); }
  bool IsUncertain() const override { return pending_.has_value(); }

  void AddAudit(std::map<std::string, int>* expected) const override {
    for (const auto& [action, count] : actions_) (*expected)[AuditKey(action, resource_)] += count;
  }

 private:
  struct Pending {
    std::string action;  // as the audit log says it
    State::State next = State::STATE_UNSPECIFIED;
    Send send;
  };

  template <typename Request>
  void PlanControl(const std::string& verb, State::State next,
                   grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, State*)) {
    Request request;
    request.set_name(resource_);
    pending_ = Pending{"experiment." + verb, next,
                       MakeChange<Stub, Request, State>(&Api::experiments, method, request, names_.Next("request"),
                                                        &tally_, [](const State&) {})};
  }

  void Plan(Rng* rng) {
    ++num_steps_;
    if (resource_.empty()) {
      v1::CreateExperimentRequest request;
      *request.mutable_spec() = spec_;
      pending_ = Pending{"experiment.create", State::STATE_QUEUED,
                         MakeChange<Stub, v1::CreateExperimentRequest, State>(
                             &Api::experiments, &Stub::CreateExperiment, request, names_.Next("request"), &tally_,
                             [this](const State& created) { resource_ = created.name(); })};
    } else if (num_steps_ > kStepsMax || rng->Below(6) == 0) {
      PlanControl("cancel", State::STATE_CANCELED, &Stub::CancelExperiment);
    } else if (state_ == State::STATE_QUEUED) {
      PlanControl("pause", State::STATE_PAUSED, &Stub::PauseExperiment);
    } else {
      PlanControl("resume", State::STATE_QUEUED, &Stub::ResumeExperiment);
    }
  }

  void Happened() {
    state_ = pending_->next;
    ++actions_[pending_->action];
    pending_.reset();
  }

  // Finds out what came of the pending change; calls again by chance.
  absl::Status Settle(Api* api, Rng* rng) {
    bool is_done = false;
    if (resource_.empty()) {
      URSA_ASSIGN_OR_RETURN(const std::vector<State> all,
                            (api->Pages<State>(api->experiments, &Stub::ListExperiments, v1::ListExperimentsRequest(),
                                               &v1::ListExperimentsResponse::mutable_experiments)));
      for (const State& experiment : all) {
        if (experiment.spec().name() != name()) continue;
        if (is_done) return Finding("one call made two experiments");
        is_done = true;
        resource_ = experiment.name();
      }
    } else {
      URSA_ASSIGN_OR_RETURN(const State now, Get(api));
      if (now.state() != state_ && now.state() != pending_->next) {
        return Finding(absl::StrCat(resource_, " must be ", State::State_Name(state_), " or, after ", pending_->action,
                                    ", ", State::State_Name(pending_->next), ", is ", State::State_Name(now.state())));
      }
      is_done = now.state() == pending_->next;
    }
    ++(is_done ? tally_.num_found_done : tally_.num_found_undone);
    if (rng->Below(2) == 0) {
      const absl::Status status = pending_->send(api);
      if (!status.ok()) return MayHaveHappened(status) ? status : Finding(absl::StrCat("again: ", status.ToString()));
      is_done = true;
    }
    if (is_done) {
      Happened();
    } else {
      pending_.reset();
    }
    return absl::OkStatus();
  }

  absl::StatusOr<State> Get(Api* api) const {
    v1::GetExperimentRequest request;
    request.set_name(resource_);
    absl::StatusOr<State> now = api->Call(api->experiments, &Stub::GetExperiment, request);
    if (now.ok() || MayHaveHappened(now.status())) return now;
    return Finding(absl::StrCat(resource_, ": ", now.status().ToString()));
  }

  v1::ExperimentSpec spec_;
  Names& names_;
  std::string resource_;  // empty until it is known to exist
  State::State state_ = State::STATE_UNSPECIFIED;
  int num_steps_ = 0;
  std::optional<Pending> pending_;
  std::map<std::string, int> actions_;  // that have happened
};

}  // namespace

std::unique_ptr<Subject> NewExperimentSubject(const v1::ExperimentSpec& spec, Names* names) {
  return std::make_unique<ExperimentSubject>(spec, names);
}

}  // namespace ursa::crash
