#include "coordinator/state/state.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/rng.h"

namespace ursa {

// Stands in for Commit, the only one who may apply.
class StateTestPeer {
 public:
  static Changes Apply(State* state, Mutation mutation) {
    state->ChainAudit(&mutation);
    return state->Apply(mutation, State::CommitKey());
  }
};

namespace {

records::ExperimentRecord Experiment(int64_t id, v1::Experiment::State state, int32_t priority = 50) {
  records::ExperimentRecord record;
  record.set_id(id);
  record.set_state(state);
  record.set_queue_position(id);
  record.mutable_spec()->mutable_resources()->set_priority(priority);
  return record;
}

void AddRank(records::ExperimentRecord* experiment, int64_t worker, int32_t slot, bool gone = false) {
  records::Rank* rank = experiment->mutable_gang()->add_ranks();
  rank->set_worker_id(worker);
  rank->set_slot(slot);
  rank->set_gone(gone);
}

void AddCheckpoint(records::ExperimentRecord* experiment, const std::string& blob) {
  experiment->add_checkpoints()->set_model_blob(blob);
}

// What is left in a store after these mutations: the last bytes of each record.
class Records {
 public:
  void Add(const Mutation& mutation) {
    for (const auto& operation : mutation.operations()) {
      std::visit([this](const auto& typed) { AddTyped(typed); }, operation);
    }
  }
  State Load() const {
    State state;
    for (const auto& [key, bytes] : stored_) {
      Mutation mutation;
      EXPECT_TRUE(State::AddStored(key.first, bytes, &mutation).ok());
      StateTestPeer::Apply(&state, std::move(mutation));
    }
    return state;
  }

 private:
  template <typename Record>
  void AddTyped(const Mutation::PutOperation<Record>& put) {
    using Traits = EntityTraits<Record>;
    stored_[{std::string(Traits::kTable), RecordId(Traits::KeyOf(put.record))}] = put.record.SerializeAsString();
  }
  template <typename Record>
  void AddTyped(const Mutation::DeleteOperation<Record>& deletion) {
    stored_.erase({std::string(EntityTraits<Record>::kTable), RecordId(deletion.key)});
  }

  std::map<std::pair<std::string, std::string>, std::string> stored_;
};

TEST(StateTest, QueueIsByPriorityThenPosition) {
  State state;
  Mutation mutation;
  mutation.Put(Experiment(1, v1::Experiment::STATE_QUEUED, 50))
      .Put(Experiment(2, v1::Experiment::STATE_QUEUED, 90))
      .Put(Experiment(3, v1::Experiment::STATE_QUEUED, 50))
      .Put(Experiment(4, v1::Experiment::STATE_PAUSED, 99));
  const Changes changes = StateTestPeer::Apply(&state, mutation);
  EXPECT_TRUE(changes.placement);
  std::vector<int64_t> order;
  for (const auto& [key, id] : state.queue()) order.push_back(id);
  EXPECT_EQ(order, (std::vector<int64_t>{2, 1, 3}));
  EXPECT_EQ(state.NumExperiments(v1::Experiment::STATE_QUEUED), 3);
}

TEST(StateTest, AQueuedExperimentWithAGangIsNotYetInTheQueue) {
  State state;
  records::ExperimentRecord experiment = Experiment(1, v1::Experiment::STATE_QUEUED);
  AddRank(&experiment, 7, 0);
  StateTestPeer::Apply(&state, Mutation().Put(experiment));
  EXPECT_TRUE(state.queue().empty());
  EXPECT_EQ(state.gangs().count(1), 1u);
}

TEST(StateTest, GoneRanksFreeTheirSlots) {
  State state;
  records::ExperimentRecord experiment = Experiment(1, v1::Experiment::STATE_RUNNING);
  AddRank(&experiment, 7, 0);
  AddRank(&experiment, 7, 1);
  Changes changes = StateTestPeer::Apply(&state, Mutation().Put(experiment));
  EXPECT_EQ(changes.workers, (std::set<int64_t>{7}));
  EXPECT_EQ(state.LoadOf(7).slots.size(), 2u);
  experiment.mutable_gang()->mutable_ranks(0)->set_gone(true);
  StateTestPeer::Apply(&state, Mutation().Put(experiment));
  EXPECT_EQ(state.LoadOf(7).slots, (std::map<int32_t, std::string>{{1, "e1"}}));
  EXPECT_EQ(state.LoadOf(7).experiments.count(1), 1u);
  experiment.clear_gang();
  StateTestPeer::Apply(&state, Mutation().Put(experiment));
  EXPECT_TRUE(state.LoadOf(7).slots.empty());
  EXPECT_TRUE(state.LoadOf(7).experiments.empty());
}

TEST(StateTest, TellsWhichBlobsLostTheirLastReference) {
  State state;
  records::ExperimentRecord experiment = Experiment(1, v1::Experiment::STATE_RUNNING);
  AddCheckpoint(&experiment, "a");
  AddCheckpoint(&experiment, "b");
  records::ModelVersionRecord version;
  version.mutable_version()->set_model("bears");
  version.mutable_version()->set_version(1);
  version.mutable_version()->set_weights_hash("a");
  StateTestPeer::Apply(&state, Mutation().Put(experiment).Put(version));
  EXPECT_EQ(state.NumReferences("a"), 2);
  experiment.clear_checkpoints();
  AddCheckpoint(&experiment, "c");
  EXPECT_EQ(StateTestPeer::Apply(&state, Mutation().Put(experiment)).unreferenced_blobs, (std::set<std::string>{"b"}));
  // A blob that moves from one entity to another within a mutation has kept a reference.
  records::ExperimentRecord other = Experiment(2, v1::Experiment::STATE_RUNNING);
  AddCheckpoint(&other, "c");
  experiment.clear_checkpoints();
  EXPECT_TRUE(StateTestPeer::Apply(&state, Mutation().Put(experiment).Put(other)).unreferenced_blobs.empty());
}

TEST(StateTest, LatestVersionIsOfThatNameAlone) {
  State state;
  Mutation mutation;
  for (const auto& [name, version] :
       std::vector<std::pair<std::string, int64_t>>{{"a", 1}, {"b", 1}, {"b", 12}, {"ba", 3}}) {
    records::DatasetVersionRecord record;
    record.mutable_version()->set_dataset(name);
    record.mutable_version()->set_version(version);
    record.mutable_version()->set_manifest_hash(name + std::to_string(version));
    mutation.Put(record);
  }
  StateTestPeer::Apply(&state, mutation);
  EXPECT_EQ(state.FindLatestVersion<records::DatasetVersionRecord>("b")->version().version(), 12);
  EXPECT_EQ(state.FindLatestVersion<records::DatasetVersionRecord>("c"), nullptr);
  EXPECT_EQ(state.FindLatestVersion<records::DatasetVersionRecord>(""), nullptr);
  EXPECT_EQ(state.FindDatasetVersion("b", "b12"), 12);
  EXPECT_EQ(state.FindDatasetVersion("a", "b12"), 0);
}

TEST(StateTest, AuditEventsFormAChain) {
  State state;
  records::AuditPayload first;
  first.set_action("one");
  records::AuditPayload second;
  second.set_action("two");
  Mutation mutation;
  mutation.Audit(first).Audit(second);
  const auto rows = state.ChainAudit(&mutation);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].sequence(), 1);
  EXPECT_EQ(rows[0].previous_hash(), std::string(64, '0'));
  EXPECT_EQ(rows[1].previous_hash(), rows[0].hash());
  EXPECT_EQ(rows[1].hash(), State::AuditHash(rows[0].hash(), rows[1].payload()));
  EXPECT_NE(rows[1].hash(), State::AuditHash(rows[0].hash(), rows[1].payload() + "x"));
  EXPECT_EQ(state.audit_head().sequence(), 0);  // nothing is applied yet
}

TEST(StateTest, UnknownTablesAndDamagedRecordsAreDataLoss) {
  Mutation mutation;
  EXPECT_EQ(State::AddStored("martians", "", &mutation).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(State::AddStored("experiment", "\xff\xff\xff", &mutation).code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(mutation.empty());
}

// One random put or delete of one of many kinds.
Mutation RandomMutation(SeededRng* rng) {
  Mutation mutation;
  const auto id = static_cast<int64_t>(rng->Below(6) + 1);
  const std::string name(1, static_cast<char>('a' + rng->Below(3)));
  switch (rng->Below(8)) {
    case 0:
    case 1: {
      records::ExperimentRecord experiment = Experiment(id, static_cast<v1::Experiment::State>(1 + rng->Below(6)),
                                                        1 + static_cast<int32_t>(rng->Below(9)));
      for (uint64_t i = rng->Below(3); i > 0; --i) AddCheckpoint(&experiment, std::string(1, 'a' + rng->Below(5)));
      const uint64_t num_ranks = rng->Below(3);
      for (uint64_t r = 0; r < num_ranks; ++r) {
        AddRank(&experiment, static_cast<int64_t>(1 + rng->Below(2)), static_cast<int32_t>(id * 10 + r), rng->Below(2));
      }
      mutation.Put(std::move(experiment));
      break;
    }
    case 2:
      mutation.Delete<records::ExperimentRecord>(id);
      break;
    case 3: {
      records::AuxTaskRecord task;
      task.set_id(id);
      task.set_worker_id(static_cast<int64_t>(rng->Below(3)));
      task.set_slot(rng->Below(2) ? static_cast<int32_t>(100 + id) : -1);
      task.mutable_assignment()->mutable_evaluate()->set_examples_hash(name);
      mutation.Put(std::move(task));
      break;
    }
    case 4:
      mutation.Delete<records::AuxTaskRecord>(id);
      break;
    case 5: {
      records::RequestRecord request;
      request.set_actor("admin");
      request.set_request_id(name);
      request.mutable_time()->set_seconds(id);
      mutation.Put(std::move(request));
      break;
    }
    case 6: {
      records::ComparisonRecord comparison;
      comparison.set_id(id);
      comparison.mutable_comparison()->set_candidate(name);
      comparison.mutable_comparison()->set_baseline("z");
      mutation.Put(std::move(comparison));
      break;
    }
    default: {
      records::TokenRecord token;
      token.set_name(name);
      token.set_hash(name + std::to_string(id));
      mutation.Put(std::move(token));
    }
  }
  mutation.Audit(records::AuditPayload());
  return mutation;
}

// Random puts and deletes: the state built step by step equals the one loaded from what is left.
TEST(StateTest, LoadingWhatIsStoredGivesTheSameState) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SeededRng rng(seed);
    State state;
    Records stored;
    for (int step = 0; step < 60; ++step) {
      Mutation mutation = RandomMutation(&rng);
      state.ChainAudit(&mutation);
      StateTestPeer::Apply(&state, mutation);
      stored.Add(mutation);
      records::AuditHeadRecord head = state.audit_head();
      stored.Add(Mutation().Put(head));
    }
    ASSERT_EQ(state.DebugExport(), stored.Load().DebugExport()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace ursa
