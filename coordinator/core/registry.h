// The model registry: versions, the champion, the gates, and the history of every move.
#ifndef URSA_COORDINATOR_CORE_REGISTRY_H_
#define URSA_COORDINATOR_CORE_REGISTRY_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/core/environment.h"
#include "ursa/v1/registry.pb.h"

namespace ursa {

// Each move is one mutation: evidence, alias, history and audit record, or nothing. A model's champions are a stack: a
// promotion pushes, a rollback pops. Guarded by the coordinator's lock: every method takes a transaction.
class Registry {
 public:
  explicit Registry(const Environment* env) : env_(*env) {}

  absl::StatusOr<v1::ModelVersion> Register(Tx& tx, const Caller& caller,
                                            const v1::RegisterModelVersionRequest& request) const;
  // By version, alias or "latest". Errors: NOT_FOUND, INVALID_ARGUMENT.
  static absl::StatusOr<const records::ModelVersionRecord*> FindVersion(const Tx& tx, const std::string& name);
  absl::StatusOr<v1::Model> Get(const Tx& tx, const std::string& name) const;
  absl::StatusOr<v1::ListModelsResponse> List(const Tx& tx, const v1::ListModelsRequest& request) const;
  absl::StatusOr<v1::ListModelEventsResponse> ListEvents(const Tx& tx, const v1::ListModelEventsRequest& request) const;

  absl::StatusOr<v1::PromoteModelVersionResponse> Promote(Tx& tx, const Caller& caller,
                                                          const v1::PromoteModelVersionRequest& request) const;
  absl::StatusOr<v1::PromoteModelVersionResponse> Rollback(Tx& tx, const Caller& caller,
                                                           const v1::RollbackModelRequest& request) const;
  absl::StatusOr<v1::ModelGates> SetGates(Tx& tx, const Caller& caller, const v1::SetModelGatesRequest& request) const;
  absl::StatusOr<v1::ModelGates> GetGates(const Tx& tx, const std::string& name) const;

 private:
  struct Move {
    std::string action;
    int64_t from = 0;
    int64_t to = 0;
    std::string comparison_id;
    std::string why;
    bool forced = false;
  };
  // Adds one event to history and audit log, and puts the model's record with it.
  void Record(const Caller& caller, const Move& move, records::ModelRecord model, Mutation* mutation) const;
  static v1::Model ToProto(const Tx& tx, const records::ModelRecord& record);

  const Environment& env_;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_REGISTRY_H_
