// The kinds of subjects: what a user of the API does all day.
#ifndef URSA_TESTS_CRASH_SUBJECTS_H_
#define URSA_TESTS_CRASH_SUBJECTS_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "tests/crash/subject.h"
#include "ursa/v1/recipe.pb.h"

namespace ursa::crash {

// Names and request ids that nobody else uses. Thread-safe.
class Names {
 public:
  explicit Names(std::string prefix) : prefix_(std::move(prefix)) {}
  std::string Next(const std::string& kind) { return absl::StrCat(kind, "-", prefix_, "-", ++last_); }

 private:
  const std::string prefix_;
  std::atomic<int64_t> last_{0};
};

// A small job, and what undisturbed training gives: metric points by (name, step).
struct Lesson {
  v1::ExperimentSpec spec;
  std::map<std::pair<std::string, int64_t>, double> points;
};

// An experiment that waits in the queue: created, paused, resumed, at last canceled. `spec` must not get a place.
std::unique_ptr<Subject> NewExperimentSubject(const v1::ExperimentSpec& spec, Names* names);

// A model: versions of `experiment` ("experiments/e1", which has a checkpoint) registered, promoted, rolled back, its
// gates set.
std::unique_ptr<Subject> NewModelSubject(const std::string& experiment, Names* names);

// Blobs uploaded: a few small ones, a large one in pieces, a bulk load, one with a wrong hash, one that is cut off and
// goes on; one of these by chance.
std::unique_ptr<Subject> NewBlobSubject(Names* names, Rng* rng);

// Small pictures drawn and imported as a dataset of their own; then evaluated with `model` ("models/m/versions/1")
// unless it is empty. Waits for a worker.
std::unique_ptr<Subject> NewImportSubject(const std::string& model, Names* names, Rng* rng);

// A lesson trained to its end: what comes out is to the bit what undisturbed training gives. Waits for a worker.
std::unique_ptr<Subject> NewTrainingSubject(const Lesson& lesson, Names* names);

// For the set-up, where nothing is killed. Imports `num_pictures` and returns the dataset's name.
absl::StatusOr<std::string> ImportPictures(Api* api, int num_pictures, Names* names, Rng* rng);
// Trains and returns the experiment's name ("experiments/e1"); fills lesson->points.
absl::StatusOr<std::string> TrainUndisturbed(Api* api, Lesson* lesson, Names* names);
// Registers a version of a new model and returns its name ("models/m/versions/1").
absl::StatusOr<std::string> RegisterModel(Api* api, const std::string& experiment, Names* names);

}  // namespace ursa::crash

#endif  // URSA_TESTS_CRASH_SUBJECTS_H_
