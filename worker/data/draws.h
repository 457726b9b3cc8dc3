// Where the transforms take their random numbers from: a seam, so that golden tests can replay recorded draws.
#ifndef URSA_WORKER_DATA_DRAWS_H_
#define URSA_WORKER_DATA_DRAWS_H_

#include <cstdint>

#include "base/rng.h"

namespace ursa {

// Not thread-safe. The order in which a transform draws is part of its definition.
class Draws {
 public:
  virtual ~Draws() = default;

  // Uniform in [low, high).
  virtual double Uniform(double low, double high) = 0;

  // Uniform over the integers low..high, both included; low <= high.
  virtual int64_t Integer(int64_t low, int64_t high) = 0;

  // True with probability `p`; always uses up one Uniform.
  bool Chance(double p) { return Uniform(0, 1) < p; }
};

class RngDraws : public Draws {
 public:
  // Borrows `rng`, which must outlive this.
  explicit RngDraws(Rng* rng) : rng_(rng) {}

  double Uniform(double low, double high) override { return low + (high - low) * rng_->Uniform(); }
  int64_t Integer(int64_t low, int64_t high) override {
    return low + static_cast<int64_t>(rng_->Below(static_cast<uint64_t>(high - low) + 1));
  }

 private:
  Rng* rng_;
};

}  // namespace ursa

#endif  // URSA_WORKER_DATA_DRAWS_H_
