#include <cmath>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/crash/subjects.h"

namespace ursa::crash {
namespace {

using Stub = v1::RegistryService::Stub;

constexpr int kStepsMax = 20;
constexpr int64_t kVersionsMax = 4;

class ModelSubject : public ChangingSubject {
 public:
  ModelSubject(std::string experiment, Names* names)
      : ChangingSubject(names->Next("model")), experiment_(std::move(experiment)), names_(*names) {}

  absl::Status Check(Api* api, Rng* rng) override {
    if (IsUncertain()) URSA_RETURN_IF_ERROR(LookAndSettle(api, rng));
    if (state_.events.empty()) return absl::OkStatus();
    URSA_ASSIGN_OR_RETURN(const std::vector<v1::ModelEvent> events, Events(api));
    if (events.size() != state_.events.size()) {
      return Finding(absl::StrCat("must have ", state_.events.size(), " events, has ", events.size()));
    }
    URSA_RETURN_IF_ERROR(CompareEvents(events));
    v1::GetModelRequest request;
    request.set_name("models/" + name());
    URSA_ASSIGN_OR_RETURN(const v1::Model model, api->Call(api->registry, &Stub::GetModel, request));
    const int64_t champion = model.aliases().count("champion") ? model.aliases().at("champion") : 0;
    if (model.versions_size() != state_.num_versions || champion != Champion()) {
      return Finding(absl::StrCat("must have ", state_.num_versions, " versions and the champion ", Champion(),
                                  ", has ", model.versions_size(), " and ", champion));
    }
    if (!state_.margin.has_value()) return absl::OkStatus();
    v1::GetModelGatesRequest gates_request;
    gates_request.set_name("models/" + name());
    URSA_ASSIGN_OR_RETURN(const v1::ModelGates gates, api->Call(api->registry, &Stub::GetModelGates, gates_request));
    if (gates.gates().gates_size() != 1 || gates.gates().gates(0).non_inferiority_margin() != *state_.margin) {
      return Finding("has other gates than were set");
    }
    return absl::OkStatus();
  }

  bool IsDone() const override { return num_steps_ >= kStepsMax && !IsUncertain(); }

  void AddAudit(std::map<std::string, int>* expected) const override {
    for (const Event& event : state_.events) ++(*expected)[AuditKey("model." + event.action, "models/" + name())];
  }

 private:
  struct Event {
    std::string action;
    int64_t from = 0;
    int64_t to = 0;
    std::string why;  // empty: not known
  };
  struct State {
    std::vector<Event> events;
    int64_t num_versions = 0;
    std::vector<int64_t> champions;  // the present one last
    std::optional<double> margin;    // of its gate, once set
  };

  int64_t Champion() const { return state_.champions.empty() ? 0 : state_.champions.back(); }

  template <typename Request, typename Response>
  Change Make(const Event& event, State next,
              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*), const Request& request) {
    next.events.push_back(event);
    return {event.action,
            MakeChange<Stub, Request, Response>(&Api::registry, method, request, names_.Next("request"), &tally_,
                                                [](const Response&) {}),
            [this, next = std::move(next)] { state_ = next; }};
  }

  Change Plan(Rng* rng) override {
    ++num_steps_;
    const uint64_t choice = rng->Below(10);
    State next = state_;
    const std::string why = names_.Next("why");
    if (state_.num_versions < 2 || (choice == 0 && state_.num_versions < kVersionsMax)) {
      v1::RegisterModelVersionRequest request;
      request.set_model(name());
      request.set_experiment(experiment_);
      ++next.num_versions;
      return Make({"register", 0, 0, ""}, next, &Stub::RegisterModelVersion, request);
    }
    if (choice < 3) {
      v1::SetModelGatesRequest request;
      request.set_name("models/" + name());
      v1::Gate* gate = request.mutable_gates()->add_gates();
      gate->set_metric("accuracy");
      gate->set_non_inferiority_margin(static_cast<double>(num_steps_) / 1000);
      next.margin = gate->non_inferiority_margin();
      return Make({"set-gates", Champion(), 0, ""}, next, &Stub::SetModelGates, request);
    }
    if (choice < 5 && state_.champions.size() >= 2) {
      v1::RollbackModelRequest request;
      request.set_name("models/" + name());
      request.set_why(why);
      next.champions.pop_back();
      return Make({"rollback", Champion(), next.champions.back(), why}, next, &Stub::RollbackModel, request);
    }
    int64_t version = 1 + static_cast<int64_t>(rng->Below(state_.num_versions - 1));
    if (version >= Champion() && Champion() > 0) ++version;  // any but the champion
    v1::PromoteModelVersionRequest request;
    request.set_name(absl::StrCat("models/", name(), "/versions/", version));
    request.set_force(true);
    request.set_why(why);
    if (rng->Below(2) == 0) request.set_expect_champion(Champion());
    next.champions.push_back(version);
    return Make({"promote", Champion(), version, why}, next, &Stub::PromoteModelVersion, request);
  }

  absl::Status CompareEvents(const std::vector<v1::ModelEvent>& events) const {
    for (size_t i = 0; i < state_.events.size(); ++i) {
      const Event& must = state_.events[i];
      const v1::ModelEvent& is = events[i];
      if (is.action() != must.action || is.from_version() != must.from || is.to_version() != must.to ||
          (!must.why.empty() && is.why() != must.why)) {
        return Finding(absl::StrCat("event ", i, " must be ", must.action, " to ", must.to, " (", must.why, "), is ",
                                    is.action(), " to ", is.to_version(), " (", is.why(), ")"));
      }
    }
    return absl::OkStatus();
  }

  absl::Status LookAndSettle(Api* api, Rng* rng) {
    URSA_ASSIGN_OR_RETURN(const std::vector<v1::ModelEvent> events, Events(api));
    if (events.size() != state_.events.size() && events.size() != state_.events.size() + 1) {
      return Finding(absl::StrCat("must have ", state_.events.size(), " events or one more, has ", events.size()));
    }
    return Settle(events.size() > state_.events.size(), api, rng);
  }

  // Empty if there is no such model.
  absl::StatusOr<std::vector<v1::ModelEvent>> Events(Api* api) const {
    v1::ListModelEventsRequest request;
    request.set_parent("models/" + name());
    auto events = api->Pages<v1::ModelEvent>(api->registry, &Stub::ListModelEvents, request,
                                             &v1::ListModelEventsResponse::mutable_events);
    if (absl::IsNotFound(events.status())) return std::vector<v1::ModelEvent>();
    return events;
  }

  const std::string experiment_;
  Names& names_;
  State state_;
  int num_steps_ = 0;
};

}  // namespace

std::unique_ptr<Subject> NewModelSubject(const std::string& experiment, Names* names) {
  return std::make_unique<ModelSubject>(experiment, names);
}

absl::StatusOr<std::string> RegisterModel(Api* api, const std::string& experiment, Names* names) {
  v1::RegisterModelVersionRequest request;
  request.set_model(names->Next("evaluated"));
  request.set_experiment(experiment);
  request.set_request_id(names->Next("request"));
  URSA_ASSIGN_OR_RETURN(const v1::ModelVersion version, api->Call(api->registry, &Stub::RegisterModelVersion, request));
  return version.name();
}

}  // namespace ursa::crash
