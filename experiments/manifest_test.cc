#include "experiments/manifest.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/digest.h"
#include "experiments/splitters.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Candidates whose bytes are named by a short text; sorted by source as a client sends them.
class Source {
 public:
  Source& Add(const std::string& source, const std::string& label, const std::string& bytes,
              const std::string& split = "") {
    v1::Candidate& candidate = candidates_[source];
    candidate.set_source(source);
    candidate.set_label(label);
    candidate.set_hash(Sha256Hex(bytes));
    candidate.set_size(static_cast<int64_t>(bytes.size()));
    candidate.set_split(split);
    return *this;
  }

  // `n` different pictures of a label.
  Source& AddClass(const std::string& label, int n, const std::string& split = "") {
    for (int i = 0; i < n; ++i) {
      const std::string name = split + (split.empty() ? "" : "/") + label + "/" + std::to_string(i) + ".jpg";
      Add(name, label, name, split);
    }
    return *this;
  }

  Source& Refuse(const std::string& source, const std::string& reason) {
    refusals_[source] = reason;
    return *this;
  }

  v1::CandidateList List() const {
    v1::CandidateList list;
    for (const auto& [source, candidate] : candidates_) *list.add_candidates() = candidate;
    return list;
  }

  absl::StatusOr<BuiltManifest> Build(const std::string& split, const ManifestLimits& limits = {}) const {
    std::vector<std::string> refusals;
    for (const auto& [source, candidate] : candidates_) {
      const auto found = refusals_.find(source);
      refusals.push_back(found == refusals_.end() ? "" : found->second);
    }
    return BuildManifest(List(), refusals, split, /*num_ignored=*/3, limits);
  }

 private:
  std::map<std::string, v1::Candidate> candidates_;
  std::map<std::string, std::string> refusals_;
};

std::string ErrorOf(const absl::StatusOr<BuiltManifest>& built) {
  EXPECT_EQ(built.status().code(), absl::StatusCode::kInvalidArgument) << built.status();
  return std::string(built.status().message());
}

TEST(BuildManifestTest, SplitsAsFastaiDoes) {
  const auto built = Source().AddClass("teddy", 10).AddClass("Grizzly", 10).Build("random:0.25:seed=7");
  ASSERT_TRUE(built.ok()) << built.status();
  const v1::DatasetVersion& summary = built->summary;
  EXPECT_EQ(summary.num_examples(), 20);
  EXPECT_EQ(summary.num_train(), 15);
  EXPECT_EQ(summary.num_valid(), 5);
  EXPECT_EQ(summary.num_test(), 0);
  EXPECT_EQ(summary.num_ignored(), 3);
  EXPECT_EQ(summary.split(), "random:0.25:seed=7");
  EXPECT_THAT(summary.classes(), ElementsAre("Grizzly", "teddy"));  // capitals sort first
  EXPECT_THAT(built->manifest.classes(), ElementsAre("Grizzly", "teddy"));
  EXPECT_EQ(summary.manifest_hash(), ManifestHash(built->manifest));
  for (int64_t i : RandomSplit(20, 0.25, 7).valid) {
    EXPECT_EQ(built->manifest.examples(static_cast<int>(i)).split(), "valid") << i;
  }
  EXPECT_TRUE(std::is_sorted(built->manifest.examples().begin(), built->manifest.examples().end(),
                             [](const v1::Example& a, const v1::Example& b) { return a.source() < b.source(); }));
}

TEST(BuildManifestTest, RefusedFilesKeepTheirReasonsAndTakeNoPartInTheSplit) {
  Source source = Source().AddClass("a", 10).AddClass("b", 10);
  const std::string clean_hash = source.Build("random:0.2:seed=1")->summary.manifest_hash();
  source.Add("a/bad.jpg", "a", "bad").Refuse("a/bad.jpg", "truncated after 12 of 40 lines");
  const auto built = source.Build("random:0.2:seed=1");
  ASSERT_TRUE(built.ok()) << built.status();
  ASSERT_EQ(built->summary.refused_size(), 1);
  EXPECT_EQ(built->summary.refused(0).source(), "a/bad.jpg");
  EXPECT_EQ(built->summary.refused(0).reason(), "truncated after 12 of 40 lines");
  EXPECT_EQ(built->summary.num_examples(), 20);
  EXPECT_EQ(built->summary.manifest_hash(), clean_hash);
}

TEST(BuildManifestTest, TheClientsRefusalsCount) {
  v1::CandidateList list = Source().AddClass("a", 3).AddClass("b", 3).List();
  list.mutable_candidates(1)->set_refused("permission denied");
  list.mutable_candidates(1)->clear_hash();
  const auto built = BuildManifest(list, std::vector<std::string>(6), "random:0.5:seed=1", 0);
  ASSERT_TRUE(built.ok()) << built.status();
  ASSERT_EQ(built->summary.refused_size(), 1);
  EXPECT_EQ(built->summary.refused(0).reason(), "permission denied");
}

TEST(BuildManifestTest, DuplicatesUnderOneLabelAreOneExample) {
  const auto built = Source()
                         .AddClass("a", 4)
                         .AddClass("b", 4)
                         .Add("a/z1.jpg", "a", "same")
                         .Add("a/z2.jpg", "a", "same")
                         .Add("a/z3.jpg", "a", "same")
                         .Build("random:0.3:seed=1");
  ASSERT_TRUE(built.ok()) << built.status();
  EXPECT_EQ(built->summary.num_examples(), 9);
  EXPECT_EQ(built->summary.num_duplicates(), 2);
  EXPECT_EQ(built->summary.refused_size(), 0);
  const auto& examples = built->manifest.examples();
  EXPECT_EQ(std::count_if(examples.begin(), examples.end(),
                          [](const v1::Example& example) { return example.source() == "a/z1.jpg"; }),
            1);
}

// A test picture that training also has would flatter the model.
TEST(BuildManifestTest, DuplicatesAcrossSplitsStayInTheFirstOnly) {
  const auto built = Source()
                         .AddClass("a", 3, "train")
                         .AddClass("b", 3, "train")
                         .AddClass("a", 2, "test")
                         .Add("test/a/x.jpg", "a", "same", "test")
                         .Add("train/a/x.jpg", "a", "same", "train")
                         .Build("folder");
  ASSERT_TRUE(built.ok()) << built.status();
  EXPECT_EQ(built->summary.num_duplicates(), 1);
  EXPECT_EQ(built->summary.num_test(), 3);
  EXPECT_EQ(built->summary.num_train(), 6);
}

TEST(BuildManifestTest, TheSameBytesUnderTwoLabelsAreAllRefused) {
  const auto built = Source()
                         .AddClass("a", 5)
                         .AddClass("b", 5)
                         .Add("a/x1.jpg", "a", "same")
                         .Add("a/x2.jpg", "a", "same")
                         .Add("b/y.jpg", "b", "same")
                         .Build("random:0.3:seed=1");
  ASSERT_TRUE(built.ok()) << built.status();
  EXPECT_EQ(built->summary.num_examples(), 10);
  EXPECT_EQ(built->summary.num_duplicates(), 0);
  ASSERT_EQ(built->summary.refused_size(), 3);
  EXPECT_EQ(built->summary.refused(0).source(), "a/x1.jpg");
  EXPECT_THAT(built->summary.refused(0).reason(), HasSubstr("\"b/y.jpg\", labelled \"b\""));
  EXPECT_THAT(built->summary.refused(1).reason(), HasSubstr("\"b/y.jpg\", labelled \"b\""));
  EXPECT_EQ(built->summary.refused(2).source(), "b/y.jpg");
  EXPECT_THAT(built->summary.refused(2).reason(), HasSubstr("\"a/x1.jpg\", labelled \"a\""));
}

// An unreadable file says nothing about the label of readable ones.
TEST(BuildManifestTest, ARefusedFileMakesNoConflict) {
  const auto built = Source()
                         .AddClass("a", 5)
                         .AddClass("b", 5)
                         .Add("a/x.jpg", "a", "same")
                         .Add("b/y.jpg", "b", "same")
                         .Refuse("b/y.jpg", "out of memory")
                         .Build("random:0.3:seed=1");
  ASSERT_TRUE(built.ok()) << built.status();
  EXPECT_EQ(built->summary.num_examples(), 11);
  EXPECT_EQ(built->summary.refused_size(), 1);
}

TEST(BuildManifestTest, FolderSplit) {
  Source source;
  source.AddClass("a", 3, "train").AddClass("b", 3, "train").AddClass("a", 2, "valid").AddClass("b", 1, "test");
  source.Add("extra/a/1.jpg", "a", "extra").Add("root.jpg", "", "root");
  const auto built = source.Build("folder");
  ASSERT_TRUE(built.ok()) << built.status();
  EXPECT_EQ(built->summary.num_train(), 6);
  EXPECT_EQ(built->summary.num_valid(), 2);
  EXPECT_EQ(built->summary.num_test(), 1);
  ASSERT_EQ(built->summary.refused_size(), 2);
  EXPECT_THAT(built->summary.refused(0).reason(), HasSubstr("does not say its split"));
  EXPECT_THAT(built->summary.refused(1).reason(), HasSubstr("no label"));
}

TEST(BuildManifestTest, TestWithoutValidationIsAllowed) {
  EXPECT_TRUE(
      Source().AddClass("a", 3, "train").AddClass("b", 3, "train").AddClass("a", 2, "test").Build("folder").ok());
}

TEST(BuildManifestTest, NothingAccepted) {
  EXPECT_THAT(ErrorOf(Source().Build("random:0.2:seed=1")), HasSubstr("none of 0 files"));
  EXPECT_THAT(ErrorOf(Source().Add("a/1.jpg", "a", "x").Refuse("a/1.jpg", "zero bytes").Build("random:0.2:seed=1")),
              HasSubstr("none of 1 files was accepted; the first, \"a/1.jpg\": zero bytes"));
}

TEST(BuildManifestTest, OneClassOnly) {
  EXPECT_THAT(ErrorOf(Source().AddClass("polar", 10).Build("random:0.2:seed=1")),
              HasSubstr("have the label \"polar\""));
}

TEST(BuildManifestTest, ASinglePictureOfAClassIsFineInTrainingOnly) {
  Source source = Source().AddClass("a", 9).AddClass("rare", 1);
  bool seen[2] = {false, false};
  for (int seed = 0; seed < 50; ++seed) {
    const auto built = source.Build("random:0.2:seed=" + std::to_string(seed));
    seen[built.ok()] = true;
    if (built.ok()) {
      EXPECT_THAT(built->summary.classes(), ElementsAre("a", "rare"));
    } else {
      EXPECT_THAT(ErrorOf(built), HasSubstr("label \"rare\" has no training example, only \"rare/0.jpg\" in valid"));
      EXPECT_THAT(ErrorOf(built), HasSubstr("stratified"));
    }
  }
  EXPECT_TRUE(seen[0] && seen[1]);
  EXPECT_TRUE(source.Build("stratified:0.2:seed=1").ok());
}

TEST(BuildManifestTest, ATestLabelThatTrainingLacks) {
  const std::string error = ErrorOf(
      Source().AddClass("a", 3, "train").AddClass("b", 3, "train").AddClass("polar", 2, "valid").Build("folder"));
  EXPECT_THAT(error, HasSubstr("label \"polar\" has no training example"));
  EXPECT_THAT(error, Not(HasSubstr("stratified")));
}

TEST(BuildManifestTest, EmptySplits) {
  EXPECT_THAT(ErrorOf(Source().AddClass("a", 2).AddClass("b", 2).Build("random:0.2:seed=1")),
              HasSubstr("no validation example among 4"));
  EXPECT_THAT(ErrorOf(Source().AddClass("a", 2, "valid").AddClass("b", 2, "valid").Build("folder")),
              HasSubstr("no training example among 4"));
}

TEST(BuildManifestTest, TooManyClasses) {
  Source source;
  for (int i = 0; i < 5; ++i) source.AddClass("c" + std::to_string(i), 4);
  ManifestLimits limits;
  limits.num_classes_max = 4;
  EXPECT_THAT(ErrorOf(source.Build("stratified:0.3:seed=1", limits)), HasSubstr("5 classes, at most 4"));
}

TEST(BuildManifestTest, BadSplit) {
  EXPECT_THAT(ErrorOf(Source().AddClass("a", 3).AddClass("b", 3).Build("random:2")), HasSubstr("split \"random:2\""));
}

TEST(ManifestHashTest, CoversIdLabelAndSplitButNotSourceNorOrder) {
  const v1::Manifest manifest = Source().AddClass("a", 5).AddClass("b", 5).Build("random:0.3:seed=1")->manifest;
  const std::string hash = ManifestHash(manifest);
  EXPECT_TRUE(IsDigestHex(hash));
  v1::Manifest changed = manifest;
  changed.mutable_examples(0)->set_source("elsewhere.jpg");
  changed.mutable_examples()->SwapElements(1, 7);
  EXPECT_EQ(ManifestHash(changed), hash);
  for (const auto& change : std::vector<void (*)(v1::Example*)>{
           [](v1::Example* example) { example->set_id(Sha256Hex("other")); },
           [](v1::Example* example) { example->set_label("other"); },
           [](v1::Example* example) { example->set_split(example->split() == "train" ? "valid" : "train"); }}) {
    changed = manifest;
    change(changed.mutable_examples(3));
    EXPECT_NE(ManifestHash(changed), hash);
  }
}

TEST(ManifestHashTest, PartsDoNotRunIntoEachOther) {
  v1::Manifest one;
  one.add_examples()->set_id("ab");
  one.mutable_examples(0)->set_label("c");
  v1::Manifest other;
  other.add_examples()->set_id("a");
  other.mutable_examples(0)->set_label("bc");
  EXPECT_NE(ManifestHash(one), ManifestHash(other));
}

TEST(CheckCandidatesTest, AcceptsAGoodList) {
  v1::CandidateList list = Source().AddClass("schäfer hund", 2).Add("root.jpg", "", "x").List();
  v1::Candidate* unreadable = list.add_candidates();
  unreadable->set_source("z.jpg");
  unreadable->set_refused("permission denied");
  EXPECT_TRUE(CheckCandidates(list).ok()) << CheckCandidates(list);
}

TEST(CheckCandidatesTest, SaysWhichCandidateBreaksWhichRule) {
  const v1::CandidateList good = Source().AddClass("a", 3).List();
  const struct {
    void (*change)(v1::CandidateList*);
    const char* expected;
  } cases[] = {
      {[](v1::CandidateList* list) { list->mutable_candidates(1)->set_source(""); }, "candidate 1: source is empty"},
      {[](v1::CandidateList* list) { list->mutable_candidates(1)->set_source("a\nb"); }, "a\\nb"},
      {[](v1::CandidateList* list) { list->mutable_candidates(1)->set_source("a/\xff"); }, "not UTF-8"},
      {[](v1::CandidateList* list) { list->mutable_candidates(1)->set_hash("ABC"); }, "hash is not 64"},
      {[](v1::CandidateList* list) { list->mutable_candidates(1)->set_size(-1); }, "size -1 is negative"},
      {[](v1::CandidateList* list) { list->mutable_candidates(1)->set_split("val"); }, "split \"val\""},
      {[](v1::CandidateList* list) { list->mutable_candidates(1)->set_label(std::string(300, 'x')); },
       "label has 300 bytes, at most 256"},
      {[](v1::CandidateList* list) { list->mutable_candidates(2)->set_source("a/1.jpg"); }, "not after \"a/1.jpg\""},
      {[](v1::CandidateList* list) { list->mutable_candidates()->SwapElements(0, 1); }, "not after"},
  };
  for (const auto& test : cases) {
    v1::CandidateList list = good;
    test.change(&list);
    const absl::Status status = CheckCandidates(list);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << test.expected;
    EXPECT_THAT(std::string(status.message()), HasSubstr(test.expected));
  }
  ManifestLimits limits;
  limits.num_candidates_max = 2;
  EXPECT_THAT(std::string(CheckCandidates(good, limits).message()), HasSubstr("3 files, at most 2"));
}

}  // namespace
}  // namespace ursa
