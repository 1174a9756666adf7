"""KVK: the Trade Register of the Dutch Chamber of Commerce, as four HTTP APIs (KVK reference).

operations  products and paths, as data
rules       what the operator configured, as one value
numbers     KVK numbers, RSINs and branch numbers, as people write them
terms       on what terms a number is followed
payloads    what the bodies say, and when two of them say the same
requests    how to ask for an item
answers     what a response means: the table of codes
guard       when a refusal may be believed
profiles    what is asked about a number
query       the parameters of a search
searches    a saved search, and the cells it is split into
cells       the items of saved searches: asking, and when a cell is complete
upkeep      how long an item is asked for, and when it is left alone
following   what should be asked about the numbers an operator follows
forgetting  what of a body is of a forgotten number
probes      which free calls show that a key works
registry    the functions above, as one `ports.Registry`
"""
