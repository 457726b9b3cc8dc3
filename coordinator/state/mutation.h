// The one form of change: whole entities put and deleted, and events for the audit log.
#ifndef URSA_COORDINATOR_STATE_MUTATION_H_
#define URSA_COORDINATOR_STATE_MUTATION_H_

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "coordinator/state/entities.h"

namespace ursa {

// A value. What is in it has been decided: times, ids and choices too. Operations take effect in order. It is valid
// when every key fits its table; whether the change makes sense is decided by whoever made it. Moves, does not copy.
class Mutation {
 public:
  template <typename Record>
  struct PutOperation {
    EntityNode<Record> node;
    const KeyOf<Record>& key() const { return node.key(); }
    const Record& record() const { return node.mapped(); }
  };
  template <typename Record>
  struct DeleteOperation {
    KeyOf<Record> key;
  };
  template <typename... Records>
  using OperationOf = std::variant<PutOperation<Records>..., DeleteOperation<Records>...>;
  using Operation = AllEntities<OperationOf>;

  template <typename Record>
  Mutation& Put(Record record) {
    EntityNode<Record> node = MakeEntityNode<Record>();
    node.mapped() = std::move(record);
    return PutNode<Record>(std::move(node));
  }
  // The same for a record that was made in its place. Sets its key.
  template <typename Record>
  Mutation& PutNode(EntityNode<Record> node) {
    node.key() = EntityTraits<Record>::KeyOf(node.mapped());
    operations_.emplace_back(PutOperation<Record>{std::move(node)});
    return *this;
  }
  template <typename Record>
  Mutation& Delete(KeyOf<Record> key) {
    operations_.emplace_back(DeleteOperation<Record>{std::move(key)});
    return *this;
  }

  // An event for the audit log. Its sequence number and its place in the hash chain are given by State::Chain.
  Mutation& Audit(records::AuditPayload payload) {
    audit_.push_back(std::move(payload));
    return *this;
  }

  bool empty() const { return operations_.empty() && audit_.empty(); }
  const std::vector<Operation>& operations() const { return operations_; }
  const std::vector<records::AuditPayload>& audit() const { return audit_; }

 private:
  friend class State;
  std::vector<Operation> operations_;
  std::vector<records::AuditPayload> audit_;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_STATE_MUTATION_H_
