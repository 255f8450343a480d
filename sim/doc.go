// Package sim is the façade of orrery: a scenario goes in, a Result comes out.
//
//	scenario → plan → program → prices → engine → timeline → result
package sim
