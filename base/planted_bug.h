// Bugs on purpose, for a test that looks whether the simulation would find them. Not in production: there the macro is
// the constant false, and the code behind it is gone.
#ifndef URSA_BASE_PLANTED_BUG_H_
#define URSA_BASE_PLANTED_BUG_H_

#ifdef URSA_PLANTED_BUGS

namespace ursa {

// The number of the bug that is planted now; 0: none. Set by one thread, before all else.
extern int planted_bug;
// Defined beside the test that plants, as planted_bug is: the number of a bug that its table has. Ends the process for
// another name.
int PlantedBugNumber(const char* name);

}  // namespace ursa

// Whether the bug of that name is planted: URSA_PLANTED_BUG(skip_sync).
#define URSA_PLANTED_BUG(name)                                 \
  ([] {                                                        \
    static const int number = ::ursa::PlantedBugNumber(#name); \
    return number == ::ursa::planted_bug;                      \
  }())

#else
#define URSA_PLANTED_BUG(name) false
#endif

#endif  // URSA_BASE_PLANTED_BUG_H_
