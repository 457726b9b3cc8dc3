#include <functional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/crash/subjects.h"

namespace ursa::crash {
namespace {

using State = v1::Experiment;
using Stub = v1::ExperimentService::Stub;

constexpr int kStepsMax = 12;

class ExperimentSubject : public ChangingSubject {
 public:
  ExperimentSubject(const v1::ExperimentSpec& spec, Names* names)
      : ChangingSubject(names->Next("experiment")), spec_(spec), names_(*names) {
    spec_.set_name(name());
  }

  absl::Status Check(Api* api, Rng* rng) override {
    if (IsUncertain()) URSA_RETURN_IF_ERROR(LookAndSettle(api, rng));
    if (resource_.empty()) return absl::OkStatus();
    URSA_ASSIGN_OR_RETURN(const State now, Get(api));
    if (now.state() != state_ || now.spec().name() != name()) {
      return Finding(absl::StrCat(resource_, " must be ", State::State_Name(state_), ", is ",
                                  State::State_Name(now.state()), " of the name ", now.spec().name()));
    }
    return absl::OkStatus();
  }

  bool IsDone() const override { return state_ == State::STATE_CANCELED && !IsUncertain(); }

  void AddAudit(std::map<std::string, int>* expected) const override {
    for (const auto& [action, count] : actions_) (*expected)[AuditKey(action, resource_)] += count;
  }

 private:
  template <typename Request>
  Change Control(const std::string& verb, State::State next,
                 grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, State*)) {
    Request request;
    request.set_name(resource_);
    return Make<Request>("experiment." + verb, next, method, request, [](const State&) {});
  }

  template <typename Request>
  Change Make(const std::string& action, State::State next,
              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, State*), const Request& request,
              std::function<void(const State&)> on_answer) {
    next_ = next;
    return {action,
            MakeChange<Stub, Request, State>(&Api::experiments, method, request, names_.Next("request"), &tally_,
                                             std::move(on_answer)),
            [this, action, next] {
              state_ = next;
              ++actions_[action];
            }};
  }

  Change Plan(Rng* rng) override {
    ++num_steps_;
    if (resource_.empty()) {
      v1::CreateExperimentRequest request;
      *request.mutable_spec() = spec_;
      return Make<v1::CreateExperimentRequest>("experiment.create", State::STATE_QUEUED, &Stub::CreateExperiment,
                                               request, [this](const State& created) { resource_ = created.name(); });
    }
    if (num_steps_ > kStepsMax || rng->Below(6) == 0) {
      return Control("cancel", State::STATE_CANCELED, &Stub::CancelExperiment);
    }
    if (state_ == State::STATE_QUEUED) return Control("pause", State::STATE_PAUSED, &Stub::PauseExperiment);
    return Control("resume", State::STATE_QUEUED, &Stub::ResumeExperiment);
  }

  // Whether the pending change has happened.
  absl::Status LookAndSettle(Api* api, Rng* rng) {
    bool has_happened = false;
    if (resource_.empty()) {
      URSA_ASSIGN_OR_RETURN(const std::vector<State> all,
                            (api->Pages<State>(api->experiments, &Stub::ListExperiments, v1::ListExperimentsRequest(),
                                               &v1::ListExperimentsResponse::mutable_experiments)));
      for (const State& experiment : all) {
        if (experiment.spec().name() != name()) continue;
        if (has_happened) return Finding("one call made two experiments");
        has_happened = true;
        resource_ = experiment.name();
      }
    } else {
      URSA_ASSIGN_OR_RETURN(const State now, Get(api));
      if (now.state() != state_ && now.state() != next_) {
        return Finding(absl::StrCat(resource_, " must be ", State::State_Name(state_),
                                    " or, after the pending change, ", State::State_Name(next_), ", is ",
                                    State::State_Name(now.state())));
      }
      has_happened = now.state() == next_;
    }
    return Settle(has_happened, api, rng);
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
  State::State next_ = State::STATE_UNSPECIFIED;  // by the pending change
  int num_steps_ = 0;
  std::map<std::string, int> actions_;  // that have happened
};

}  // namespace

std::unique_ptr<Subject> NewExperimentSubject(const v1::ExperimentSpec& spec, Names* names) {
  return std::make_unique<ExperimentSubject>(spec, names);
}

}  // namespace ursa::crash
