#include "coordinator/core/registry.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "coordinator/core/checkpoints.h"
#include "coordinator/core/experiments.h"
#include "coordinator/core/paging.h"
#include "coordinator/core/promotion.h"
#include "coordinator/core/trials.h"
#include "experiments/artifact.h"
#include "experiments/gates_text.h"
#include "experiments/resource_names.h"

namespace ursa {
namespace {

constexpr int kListPageSizeDefault = 100;
constexpr int kListPageSizeMax = 1000;
constexpr size_t kWhyBytesMax = 1000;

int64_t ChampionOf(const records::ModelRecord& model) {
  return model.champions().empty() ? 0 : model.champions(model.champions_size() - 1);
}

absl::Status CheckWhy(const std::string& why) {
  if (why.size() <= kWhyBytesMax) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("why: has ", why.size(), " bytes, at most ", kWhyBytesMax, " are allowed"));
}

absl::StatusOr<const records::ModelRecord*> FindModel(const Tx& tx, const std::string& model) {
  const auto* record = tx.state().Find<records::ModelRecord>(model);
  if (record == nullptr) return absl::NotFoundError(absl::StrCat("model \"", model, "\": not found"));
  return record;
}

std::string VersionName(const std::string& model, int64_t version) {
  VersionRef ref;
  ref.name = model;
  ref.version = version;
  return ModelVersionName(ref);
}

v1::ModelGates GatesOf(const records::ModelRecord& record) {
  v1::ModelGates gates;
  gates.set_name(ModelGatesName(record.model()));
  *gates.mutable_gates() = record.gates();
  gates.set_gates_hash(GatesHash(record.gates()));
  return gates;
}

}  // namespace

void Registry::Record(const Caller& caller, const Move& move, records::ModelRecord model, Mutation* mutation) const {
  model.set_num_events(model.num_events() + 1);
  records::ModelEventRecord record;
  record.set_model(model.model());
  record.set_number(model.num_events());
  v1::ModelEvent* event = record.mutable_event();
  *event->mutable_time() = ToTimestamp(env_.clock->Now());
  event->set_actor(caller.actor);
  event->set_action(move.action);
  event->set_from_version(move.from);
  event->set_to_version(move.to);
  event->set_comparison_id(move.comparison_id);
  event->set_why(move.why);
  event->set_forced(move.forced);
  URSA_LOG(INFO) << "model=" << model.model() << " " << move.action << " from=" << move.from << " to=" << move.to
                 << " actor=" << caller.actor << (move.forced ? " forced" : "");
  mutation->Audit(AuditEvent(env_, caller, "model." + move.action, ModelName(model.model()),
                             absl::StrCat("from=", move.from, " to=", move.to, " comparison=", move.comparison_id,
                                          " forced=", move.forced ? "yes" : "no", " why=", move.why)));
  mutation->Put(std::move(record));
  mutation->Put(std::move(model));
}

// "best" and "last" of a search mean those of its best trial, which it judges by a metric of its own.
std::vector<const records::TrialRecord*> TrialsToChooseFrom(const Tx& tx, const records::ExperimentRecord& experiment,
                                                            const std::string& checkpoint) {
  if (experiment.best_trial() == 0 || CheckpointId::Parse(checkpoint)) return tx.state().TrialsOf(experiment.id());
  return {tx.state().Find<records::TrialRecord>(TrialId(experiment.id(), experiment.best_trial()))};
}

absl::StatusOr<v1::ModelVersion> Registry::Register(Tx& tx, const Caller& caller,
                                                    const v1::RegisterModelVersionRequest& request) const {
  URSA_RETURN_IF_ERROR(CheckName("model", request.model()));
  URSA_ASSIGN_OR_RETURN(const int64_t experiment_id, Experiments::Find(tx, request.experiment()));
  const auto& experiment = *tx.state().Find<records::ExperimentRecord>(experiment_id);
  URSA_ASSIGN_OR_RETURN(const FoundCheckpoint found,
                        FindCheckpoint(experiment_id, TrialsToChooseFrom(tx, experiment, request.checkpoint()),
                                       experiment.spec().checkpoint().best_metric(), request.checkpoint()));
  const records::CheckpointRecord& checkpoint = *found.checkpoint;
  const v1::ExperimentSpec spec = SpecOfTrial(experiment, *found.trial);

  const auto* known = tx.state().Find<records::ModelRecord>(request.model());
  records::ModelRecord model;
  if (known != nullptr) {
    model = *known;
    const auto& latest = tx.state().FindLatestVersion<records::ModelVersionRecord>(request.model())->version();
    if (!std::equal(latest.classes().begin(), latest.classes().end(), experiment.classes().begin(),
                    experiment.classes().end())) {
      return absl::FailedPreconditionError(absl::StrCat(
          "model \"", request.model(), "\": its versions know the classes ", absl::StrJoin(latest.classes(), ", "),
          "; experiment ", ExperimentId(experiment_id).ToString(), " has ", absl::StrJoin(experiment.classes(), ", ")));
    }
  } else {
    model.set_model(request.model());
    *model.mutable_gates() = DefaultGates();
  }
  model.set_num_versions(model.num_versions() + 1);

  records::ModelVersionRecord record;
  *record.mutable_data() = spec.data();
  record.set_device(spec.execution().device());
  v1::ModelVersion* version = record.mutable_version();
  version->set_model(request.model());
  version->set_version(model.num_versions());
  version->set_name(VersionName(request.model(), model.num_versions()));
  version->set_weights_hash(checkpoint.model_blob());
  version->set_architecture(spec.model().architecture());
  version->set_transform_hash(TransformHash(spec.data()));
  *version->mutable_classes() = experiment.classes();
  version->set_artifact_hash(ArtifactHash(version->weights_hash(), version->architecture(), version->transform_hash(),
                                          {version->classes().begin(), version->classes().end()}));
  version->set_size_bytes(checkpoint.size_bytes());
  *version->mutable_create_time() = ToTimestamp(env_.clock->Now());
  version->set_creator(caller.actor);
  v1::Lineage* lineage = version->mutable_lineage();
  lineage->set_experiment_id(ExperimentId(experiment_id).ToString());
  lineage->set_checkpoint_id(CheckpointId(checkpoint.id()).ToString());
  lineage->set_step(checkpoint.step());
  lineage->set_dataset(spec.dataset());
  if (const auto dataset = ParseDatasetVersionName(experiment.dataset_version()); dataset.ok() && dataset->version) {
    const auto* trained_on =
        tx.state().Find<records::DatasetVersionRecord>(NamedNumberKey(dataset->name, *dataset->version));
    if (trained_on != nullptr) lineage->set_manifest_hash(trained_on->version().manifest_hash());
  }
  const v1::ModelVersion answer = *version;
  Mutation mutation;
  mutation.Put(std::move(record));
  Move move;
  move.action = "register";
  move.why = absl::StrCat(answer.name(), " from ", lineage->experiment_id(), " ", lineage->checkpoint_id());
  Record(caller, move, std::move(model), &mutation);
  tx.Apply(std::move(mutation));
  return answer;
}

absl::StatusOr<const records::ModelVersionRecord*> Registry::FindVersion(const Tx& tx, const std::string& name) {
  URSA_ASSIGN_OR_RETURN(VersionRef ref, ParseModelVersionName(name));
  const std::string asked = ref.ToString();
  URSA_ASSIGN_OR_RETURN(const records::ModelRecord* model, FindModel(tx, ref.name));
  if (!ref.alias.empty()) {
    if (ref.alias != kChampionAlias) {
      return absl::NotFoundError(absl::StrCat("model \"", ref.name, "\": has no alias \"", ref.alias, "\""));
    }
    if (ChampionOf(*model) == 0)
      return absl::NotFoundError(absl::StrCat("model \"", ref.name, "\": has no champion yet"));
    ref.version = ChampionOf(*model);
  }
  const auto* record = ref.version
                           ? tx.state().Find<records::ModelVersionRecord>(NamedNumberKey(ref.name, *ref.version))
                           : tx.state().FindLatestVersion<records::ModelVersionRecord>(ref.name);
  if (record == nullptr) return absl::NotFoundError(absl::StrCat("model \"", asked, "\": not found"));
  return record;
}

v1::Model Registry::ToProto(const Tx& tx, const records::ModelRecord& record) {
  v1::Model model;
  model.set_name(ModelName(record.model()));
  model.set_model(record.model());
  const auto& versions = tx.state().All<records::ModelVersionRecord>();
  for (auto it = versions.lower_bound({record.model(), 0}); it != versions.end() && it->first.first == record.model();
       ++it) {
    *model.add_versions() = it->second.version();
  }
  if (ChampionOf(record) > 0) (*model.mutable_aliases())[kChampionAlias] = ChampionOf(record);
  return model;
}

absl::StatusOr<v1::Model> Registry::Get(const Tx& tx, const std::string& name) const {
  URSA_ASSIGN_OR_RETURN(const std::string model, ParseModelName(name));
  URSA_ASSIGN_OR_RETURN(const records::ModelRecord* record, FindModel(tx, model));
  return ToProto(tx, *record);
}

absl::StatusOr<v1::ListModelsResponse> Registry::List(const Tx& tx, const v1::ListModelsRequest& request) const {
  URSA_ASSIGN_OR_RETURN(const int page_size, PageSize(request.page_size(), kListPageSizeDefault, kListPageSizeMax));
  v1::ListModelsResponse response;
  const auto& models = tx.state().All<records::ModelRecord>();
  int64_t num_bytes = 0;
  for (auto it = models.upper_bound(request.page_token()); it != models.end(); ++it) {
    if (response.models_size() == page_size || num_bytes > env_.options.page_bytes_max) {
      response.set_next_page_token(std::prev(it)->first);
      break;
    }
    *response.add_models() = ToProto(tx, it->second);
    num_bytes += static_cast<int64_t>(response.models(response.models_size() - 1).ByteSizeLong());
  }
  return response;
}

absl::StatusOr<v1::ListModelEventsResponse> Registry::ListEvents(const Tx& tx,
                                                                 const v1::ListModelEventsRequest& request) const {
  URSA_ASSIGN_OR_RETURN(const std::string model, ParseModelName(request.parent()));
  URSA_RETURN_IF_ERROR(FindModel(tx, model).status());
  URSA_ASSIGN_OR_RETURN(const int page_size, PageSize(request.page_size(), kListPageSizeMax, kListPageSizeMax));
  URSA_ASSIGN_OR_RETURN(const int64_t after, NumberToken(request.page_token()));
  v1::ListModelEventsResponse response;
  const auto& events = tx.state().All<records::ModelEventRecord>();
  for (auto it = events.upper_bound({model, after}); it != events.end() && it->first.first == model; ++it) {
    if (response.events_size() == page_size) {
      response.set_next_page_token(std::to_string(std::prev(it)->first.second));
      break;
    }
    *response.add_events() = it->second.event();
  }
  return response;
}

absl::StatusOr<v1::PromoteModelVersionResponse> Registry::Promote(Tx& tx, const Caller& caller,
                                                                  const v1::PromoteModelVersionRequest& request) const {
  if (request.force() && request.why().empty()) {
    return absl::InvalidArgumentError("why: must be given with force");
  }
  URSA_RETURN_IF_ERROR(CheckWhy(request.why()));
  URSA_ASSIGN_OR_RETURN(const records::ModelVersionRecord* candidate, FindVersion(tx, request.name()));
  records::ModelRecord model = *tx.state().Find<records::ModelRecord>(candidate->version().model());
  Move move;
  move.action = "promote";
  move.from = ChampionOf(model);
  move.to = candidate->version().version();
  move.why = request.why();
  move.forced = request.force();
  if (request.has_expect_champion() && request.expect_champion() != move.from) {
    return absl::AbortedError(absl::StrCat("model \"", model.model(), "\": version ", request.expect_champion(),
                                           " was expected to be the champion, it is ",
                                           move.from == 0 ? "none" : std::to_string(move.from)));
  }
  if (request.force()) {
    if (move.from == move.to) {
      return absl::FailedPreconditionError(
          absl::StrCat("model ", model.model(), "@", move.to, ": cannot promote, it is the champion already"));
    }
  } else {
    PromotionQuestion question;
    question.model = model.model();
    question.candidate = move.to;
    question.champion = move.from;
    question.gates_hash = GatesHash(model.gates());
    question.comparison = request.comparison();
    URSA_ASSIGN_OR_RETURN(move.comparison_id, FindEvidence(tx.state(), question));
  }
  model.add_champions(move.to);
  v1::PromoteModelVersionResponse response;
  response.set_model(model.model());
  response.set_champion(move.to);
  response.set_previous(move.from);
  response.set_comparison_id(move.comparison_id);
  Mutation mutation;
  Record(caller, move, std::move(model), &mutation);
  tx.Apply(std::move(mutation));
  return response;
}

absl::StatusOr<v1::PromoteModelVersionResponse> Registry::Rollback(Tx& tx, const Caller& caller,
                                                                   const v1::RollbackModelRequest& request) const {
  URSA_RETURN_IF_ERROR(CheckWhy(request.why()));
  URSA_ASSIGN_OR_RETURN(const std::string name, ParseModelName(request.name()));
  URSA_ASSIGN_OR_RETURN(const records::ModelRecord* found, FindModel(tx, name));
  records::ModelRecord model = *found;
  if (model.champions_size() < 2) {
    return absl::FailedPreconditionError(
        absl::StrCat("model \"", name, "\": cannot roll back, there is no champion before ",
                     model.champions().empty() ? "one" : absl::StrCat("version ", ChampionOf(model))));
  }
  Move move;
  move.action = "rollback";
  move.from = ChampionOf(model);
  model.mutable_champions()->RemoveLast();
  move.to = ChampionOf(model);
  move.why = request.why();
  v1::PromoteModelVersionResponse response;
  response.set_model(name);
  response.set_champion(move.to);
  response.set_previous(move.from);
  Mutation mutation;
  Record(caller, move, std::move(model), &mutation);
  tx.Apply(std::move(mutation));
  return response;
}

absl::StatusOr<v1::ModelGates> Registry::SetGates(Tx& tx, const Caller& caller,
                                                  const v1::SetModelGatesRequest& request) const {
  URSA_ASSIGN_OR_RETURN(const std::string name, ParseModelName(request.name()));
  URSA_ASSIGN_OR_RETURN(const records::ModelRecord* found, FindModel(tx, name));
  records::ModelRecord model = *found;
  URSA_ASSIGN_OR_RETURN(*model.mutable_gates(), ResolveGates(request.gates()));
  const v1::ModelGates answer = GatesOf(model);
  Move move;
  move.action = "set-gates";
  move.from = ChampionOf(model);
  move.why = absl::StrCat("gates ", answer.gates_hash());
  Mutation mutation;
  Record(caller, move, std::move(model), &mutation);
  tx.Apply(std::move(mutation));
  return answer;
}

absl::StatusOr<v1::ModelGates> Registry::GetGates(const Tx& tx, const std::string& name) const {
  URSA_ASSIGN_OR_RETURN(const std::string model, ParseModelName(name));
  URSA_ASSIGN_OR_RETURN(const records::ModelRecord* record, FindModel(tx, model));
  return GatesOf(*record);
}

}  // namespace ursa
